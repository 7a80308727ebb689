package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
)

// talk is the client of the server in serve.go: it sends the lines of in, up to its end or a Q, and writes the
// answers to out as they come.
func talk(ctx context.Context, address string, in io.Reader, out io.Writer) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()

	// The user may take any time for a line, so that answers, and the server's end, are waited for beside that.
	asked := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(in)
		for lines.Scan() && lines.Text() != "Q" {
			if _, err := fmt.Fprintln(c, lines.Text()); err != nil {
				asked <- err
				return
			}
		}
		asked <- lines.Err()
		fmt.Fprintln(c, "Q") // and when the server has answered all before, it closes
	}()
	_, err = io.Copy(out, c)
	select {
	case asking := <-asked:
		return errors.Join(asking, err)
	default:
		return errors.Join(errors.New("the server has closed the connection"), err)
	}
}
