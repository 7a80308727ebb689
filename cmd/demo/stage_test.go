package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
)

// A demonstration that does not hold, or cannot be shown, fails the tour.
func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		name    string
		run     func(context.Context, *stage) error
		fails   bool
		printed string
	}{
		{"holds", func(_ context.Context, s *stage) error { s.check(true, "%d is one", 1); return nil }, false, "ok      it           1 is one\n"},
		{"does not hold", func(_ context.Context, s *stage) error {
			s.check(true, "one")
			s.check(false, "two")
			return nil
		}, true, "FAILED  it           two\n"},
		{"error", func(context.Context, *stage) error { return errors.New("no memory") }, true, "FAILED  it           no memory\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			s := &stage{out: &out, name: "it"}
			s.perform(t.Context(), demonstration{run: test.run})
			if err := s.verdict(); (err != nil) != test.fails {
				t.Errorf("verdict %v, want failure: %t", err, test.fails)
			}
			if !strings.HasSuffix(out.String(), test.printed) {
				t.Errorf("printed %q, want %q", out.String(), test.printed)
			}
		})
	}
}

// Only a demonstration that runs alone tells what happens.
func TestSayOnlyAlone(t *testing.T) {
	for _, talks := range []bool{true, false} {
		var out bytes.Buffer
		s := &stage{out: &out, talks: talks}
		s.say("hello")
		if got := out.Len() > 0; got != talks {
			t.Errorf("talks %t: printed %q", talks, out.String())
		}
	}
}

// Every demonstration has its own name, which is a subcommand with a help, and a file of that name that shows the
// packages that it is listed with.
func TestDemonstrationsAreComplete(t *testing.T) {
	commands := map[string]*cobra.Command{}
	for _, c := range command().Commands() {
		if commands[c.Name()] != nil {
			t.Errorf("two commands are called %s", c.Name())
		}
		commands[c.Name()] = c
	}
	for _, d := range demonstrations {
		c := commands[d.name]
		if c == nil || d.short == "" || c.Short != d.short || d.run == nil {
			t.Errorf("demonstration %q is not complete", d.name)
			continue
		}
		source, err := os.ReadFile(d.name + ".go")
		if err != nil {
			t.Error(err)
		}
		for name := range strings.FieldsSeq(d.packages) {
			if !strings.Contains(string(source), `multiproc/`+name+`"`) {
				t.Errorf("%s.go is listed as showing package %s, and does not import it", d.name, name)
			}
			if !strings.Contains(c.Long, "go doc ./"+name) {
				t.Errorf("the help of %s does not lead to package %s: %q", d.name, name, c.Long)
			}
		}
	}
}

// A tour whose output cannot be written has shown nothing.
func TestVerdictNotPrinted(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full: ", err)
	}
	defer full.Close()
	s := &stage{out: full, name: "it"}
	s.check(true, "one")
	if err := s.verdict(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("verdict %v, want %v", err, syscall.ENOSPC)
	}
}
