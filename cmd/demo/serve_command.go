package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/process"
)

const (
	serveShort    = "a goroutine or process per connection, or workers"
	clientShort   = "the client of serve: answers to what you type"
	serverAddress = "127.0.0.1:4242"
)

func serveCommand() *cobra.Command {
	var mode, address string
	workers := max(2, process.CPUCount())
	var check bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: serveShort,
		Long: `Answers each line of its clients in capitals, and says which process did. --mode
says by whom a connection is served:

  goroutine  by a goroutine of this process
  process    by a new process that is given the connection
  prefork    by one of several workers that share the listener; one that dies is
             replaced

Ctrl-C ends it in good order, and a second one at once.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := noArgs(cmd, args); err != nil {
				return err
			}
			if waysToServe[mode] == nil {
				return misused(cmd, "--mode is %q; it has to be goroutine, process or prefork", mode)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if check {
				s := &stage{out: os.Stdout, name: "serve", talks: true}
				s.perform(cmd.Context(), demonstration{run: serveTour})
				return s.verdict()
			}
			ctx, stop := context.WithCancel(cmd.Context())
			defer stop()
			signals := make(chan os.Signal, 2)
			signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM) // so that process.Main leaves them to us
			go func() {
				<-signals
				stop()
				<-signals
				os.Exit(1) // and the children end with us
			}()
			l, err := net.Listen("tcp", address)
			if err != nil {
				return err
			}
			fmt.Printf("serving on %v, mode %s\n", l.Addr(), mode)
			s := &server{
				listener: l,
				workers:  workers,
				log:      func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
				started: func(p *process.Process) {
					if mode == "prefork" {
						fmt.Printf("started %v\n", p)
					}
				},
			}
			if err := waysToServe[mode](s, ctx); err != nil {
				return err
			}
			fmt.Println("stopped")
			return nil
		},
	}
	cmd.Flags().StringVar(&mode, "mode", "prefork", "goroutine, process or prefork")
	cmd.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions([]string{"goroutine", "process", "prefork"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().StringVar(&address, "address", serverAddress, "where to listen")
	countFlag(cmd, &workers, "workers", 1, "number of worker processes")
	cmd.Flags().BoolVar(&check, "check", false, "serve clients of its own in each mode, and check")
	return cmd
}

func clientCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "client [ADDRESS]",
		Short: clientShort,
		Long:  "Sends each line that you type to the server of 'demo serve', at " + serverAddress + "\nunless the argument says otherwise, and shows the answers. Q quits.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return misused(cmd, "client takes one address")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			address := serverAddress
			if len(args) > 0 {
				address = args[0]
			}
			err := talk(cmd.Context(), address, os.Stdin, os.Stdout)
			if errors.Is(err, syscall.ECONNREFUSED) {
				err = fmt.Errorf("%w; start one with 'demo serve'", err)
			}
			return err
		},
	}
}
