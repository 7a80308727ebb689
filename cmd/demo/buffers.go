package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/go-multiproc/multiproc/process"
)

// A bufferedFile collects what is written to it, and writes when it is flushed. Its fields are exported,
// so that it can cross to a child with all that it holds; those of a bufio.Writer are not.
type bufferedFile struct {
	File   *os.File
	Buffer []byte
}

func (f *bufferedFile) WriteString(s string) { f.Buffer = append(f.Buffer, s...) }

func (f *bufferedFile) Flush() error {
	_, err := f.File.Write(f.Buffer)
	f.Buffer = nil
	return err
}

// page is what a child under Fork begins with a copy of: the open file, and the buffer too.
var page = process.Inherit(bufferedFile{})

var writeOn = process.Register(func(context.Context, struct{}) error {
	p := page.Get()
	p.WriteString("kinght ")
	return p.Flush()
})

// buffers shows why to flush before fork: what stands in a buffer then, both sides have,
// and both will write.
func buffers(ctx context.Context, s *stage) error {
	dir, err := os.MkdirTemp("", "demo-buffers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer page.Set(bufferedFile{})

	for _, way := range []struct {
		name       string
		flushFirst bool
		want       string
	}{
		{"not flushed before fork", false, "aym kinght aym "},
		{"flushed before fork", true, "aym kinght "},
	} {
		f, err := os.Create(filepath.Join(dir, way.name))
		if err != nil {
			return err
		}
		defer f.Close()
		mine := bufferedFile{File: f}
		mine.WriteString("aym ")
		if way.flushFirst {
			if err := mine.Flush(); err != nil {
				return err
			}
		}
		page.Set(mine)
		p := process.New(writeOn, struct{}{})
		p.Method = process.Fork
		if err := p.Start(); err != nil {
			return err
		}
		if err := p.Join(ctx); err != nil {
			return err
		}
		if err := mine.Flush(); err != nil {
			return err
		}
		got, err := os.ReadFile(f.Name())
		if err != nil {
			return err
		}
		s.check(string(got) == way.want, "%s: %q", way.name, got)
	}
	return nil
}
