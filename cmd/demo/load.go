package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

const loadShort = "a file's lines into a dict that outlives a kill"

type loadOptions struct {
	processes int
	keep      string                                                        // the manager's directory; "" = none
	progress  func(files []logFile, read *array.Array[int64]) (done func()) // nil: shows none
}

// loading is what each process is given.
type loading struct {
	File  string
	Lines *manager.Dict[int, []byte] // by number, from 1
	Mine  int                        // the process loads lines Mine, Mine+Of, Mine+2·Of, …
	Of    int
	Bytes *array.Array[int64] // [0]: of the lines that are in the dict
}

// batchBytes is about how much goes in one round trip.
const batchBytes = 128 << 10

var loadLines = process.Register(func(ctx context.Context, l loading) error {
	batch, size := map[int][]byte{}, 0
	write := func() error {
		if err := l.Lines.BatchSet(ctx, batch); err != nil {
			return err
		}
		array.Add(l.Bytes, 0, int64(size))
		clear(batch)
		size = 0
		return nil
	}
	err := eachLine(l.File, func(k int, line []byte) error {
		if k%l.Of != l.Mine {
			return nil
		}
		batch[k] = bytes.TrimSuffix(bytes.Clone(line), []byte("\n"))
		if size += len(line); size < batchBytes {
			return nil
		}
		return write()
	})
	return errors.Join(err, write())
})

// eachLine calls f for each line of a file, with its number and its end. The last one may have none.
func eachLine(name string, f func(k int, line []byte) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 256<<10)
	for k := 1; ; k++ {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			if err := f(k, line); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// loaded is what came of it.
type loaded struct {
	Lines     int     `json:"lines"`
	Bytes     int64   `json:"bytes"`
	Processes int     `json:"processes"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"linesPerSecond"`
}

// loadFile loads a file, and makes sure that every line is there, once.
func loadFile(ctx context.Context, name string, o loadOptions) (done loaded, err error) {
	file, err := os.Open(name)
	if err != nil {
		return done, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return done, err
	}
	if !info.Mode().IsRegular() {
		return done, &fs.PathError{Op: "load", Path: name, Err: errors.New("not a regular file, which several processes could read")}
	}
	m, err := manager.Start(manager.Options{Path: o.keep})
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	lines, err := manager.OpenDict[int, []byte](m, "lines")
	if err != nil {
		return done, err
	}
	defer lines.Close()
	if n, err := lines.Len(ctx); err != nil {
		return done, err
	} else if n > 0 {
		return done, fmt.Errorf("%s has %d lines already; choose another directory", o.keep, n)
	}
	written, err := array.New[int64](1)
	if err != nil {
		return done, err
	}
	defer written.Close()
	if o.progress != nil {
		defer o.progress([]logFile{{File: file, size: info.Size()}}, written)()
	}

	began := time.Now()
	var ps []*process.Process
	for i := range o.processes {
		p := process.New(loadLines, loading{File: name, Lines: lines, Mine: i, Of: o.processes, Bytes: written})
		p.Name = fmt.Sprintf("load-%d", i)
		if err := p.Start(); err != nil {
			return done, err
		}
		defer p.Kill() // if another one fails
		ps = append(ps, p)
	}
	for _, p := range ps {
		if err := p.Join(ctx); err != nil {
			return done, err
		}
	}
	took := time.Since(began)

	if done.Lines, err = check(ctx, name, lines); err != nil {
		return done, err
	}
	done.Bytes, done.Processes, done.Seconds = info.Size(), o.processes, took.Seconds()
	done.PerSecond = float64(done.Lines) / took.Seconds()
	return done, nil
}

// check compares the dict with the file, and returns the number of lines.
func check(ctx context.Context, name string, lines *manager.Dict[int, []byte]) (n int, err error) {
	var keys []int
	var want [][]byte
	size := 0
	compare := func() error {
		found, err := lines.BatchGet(ctx, keys)
		if err != nil {
			return err
		}
		for i, k := range keys {
			if line, ok := found[k]; !ok || !bytes.Equal(line, want[i]) {
				return fmt.Errorf("line %d of %s is not in the dict as it is in the file", k, name)
			}
		}
		keys, want, size = keys[:0], want[:0], 0
		return nil
	}
	err = eachLine(name, func(k int, line []byte) error {
		n = k
		keys, want = append(keys, k), append(want, bytes.TrimSuffix(line, []byte("\n")))
		if size += len(line); size < batchBytes {
			return nil
		}
		return compare()
	})
	if err = errors.Join(err, compare()); err != nil {
		return n, err
	}
	has, err := lines.Len(ctx)
	if err == nil && has != n {
		err = fmt.Errorf("the dict has %d lines, the file %d", has, n)
	}
	return n, err
}

func loadCommand() *cobra.Command {
	o := loadOptions{processes: process.CPUCount()}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "load FILE",
		Short: loadShort,
		Long: `Writes the lines of a file into a dict of the manager, under their numbers from
1: line k by process k mod N. Then it reads them all back, and compares them
with the file.

With --keep the manager's server keeps them in a directory, where the next one
finds them.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return misused(cmd, "load needs the name of one file")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, names []string) error {
			if stderrIsTerminal() {
				o.progress = showProgress
			}
			done, err := loadFile(cmd.Context(), names[0], o)
			if err != nil {
				return fmt.Errorf("load: %w", err)
			}
			if asJSON {
				return json.NewEncoder(os.Stdout).Encode(done)
			}
			_, err = fmt.Printf("%d lines (%d bytes) by %d processes in %.3f s: %.0f lines/s, %.1f MB/s\n", done.Lines, done.Bytes, done.Processes,
				done.Seconds, done.PerSecond, float64(done.Bytes)/1e6/done.Seconds)
			return err
		},
	}
	countFlag(cmd, &o.processes, "processes", 1, "how many of them load")
	cmd.Flags().StringVar(&o.keep, "keep", "", "directory in which the manager keeps the lines")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// loadTour loads a file with everything that a line can be, has the server killed, and finds all lines again.
func loadTour(ctx context.Context, s *stage) error {
	dir, err := os.MkdirTemp("", "demo-load-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	text := append(makeLog(3, 20_000), "\n\r\n \t\n\xff\xfe not UTF-8\n"+string(bytes.Repeat([]byte("long "), 100_000))+"\nno newline at the end"...)
	name := filepath.Join(dir, "text")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		return err
	}
	const want = 20_000 + 6
	keep := filepath.Join(dir, "kept")
	done, err := loadFile(ctx, name, loadOptions{processes: 3, keep: keep})
	if err != nil {
		return err
	}
	s.check(done.Lines == want, "%d lines, each there once, by %d processes: %.0f lines/s", done.Lines, done.Processes, done.PerSecond)

	// The next server with that directory is killed, and the one after that goes on.
	before := process.Children()
	m, err := manager.Start(manager.Options{Path: keep})
	if err != nil {
		return err
	}
	defer m.Close()
	lines, err := manager.OpenDict[int, []byte](m, "lines")
	if err != nil {
		return err
	}
	if err := lines.Set(ctx, want+1, []byte("one more")); err != nil {
		return err
	}
	for _, p := range process.Children() {
		if !slices.Contains(before, p) {
			p.Kill()
			<-p.Done()
		}
	}
	err = lines.Set(ctx, want+2, nil)
	s.check(errors.Is(err, manager.ErrDown), "the server is killed, and every call says so")
	again, err := manager.Start(manager.Options{Path: keep})
	if err != nil {
		return err
	}
	defer again.Close()
	if lines, err = manager.OpenDict[int, []byte](again, "lines"); err != nil {
		return err
	}
	defer lines.Close()
	n, err := lines.Len(ctx)
	if err != nil {
		return err
	}
	last, _, err := lines.Get(ctx, want+1)
	s.check(err == nil && n == want+1 && string(last) == "one more", "the next server has all %d lines, the last one too", n)
	return err
}
