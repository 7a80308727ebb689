//go:build linux

package process_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/process"
)

func init() {
	mains["whoami"] = func() int {
		_, child := process.Parent()
		fmt.Println(process.Current().Name, child)
		return 0
	}
}

// A program that is started by hand, with what it finds in a child's environment, is no child.
func TestStrayMarker(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, test := range []struct {
		name, value string
		extra       []*os.File
	}{
		{"no descriptor", "1:3:12345", nil},
		{"another descriptor", "1:3:12345", []*os.File{r}},
		{"standard output", "1:1:12345", nil},
		{"another version", "2:3:12345", nil},
		{"garbage", "x", nil},
		{"empty", "", nil},
		{"huge", "1:99999999999999999999:99999999999999999999999", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := program(t, "whoami")
			cmd.Env = append(cmd.Env, "MULTIPROC_CHILD="+test.value)
			cmd.ExtraFiles = test.extra
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != "MainProcess false\n" {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// Nor is one that a child starts, with all that a child had when it began.
var startByHand = process.Register(func(ctx context.Context, env []string) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(env, mainMarker+"=whoami")
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "MainProcess false\n" {
		return fmt.Errorf("%v: %s", err, out)
	}
	// With the very socket, even.
	b, err := os.ReadFile("/proc/self/environ")
	if err != nil {
		return err
	}
	for kv := range strings.SplitSeq(string(b), "\x00") {
		if strings.HasPrefix(kv, "MULTIPROC_CHILD=") {
			env = append(env, kv)
		}
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	socket := os.NewFile(3, "control")
	for _, words := range [][]string{{exe}, {"/bin/sh", "-c", exe + "; exit $?"}} {
		// It need not wait to see whether the maker of that socket is just being killed. A busy machine may take as long for
		// any one of them, so the quickest counts.
		quickest := process.ClosingTime
		for try := 0; try < 5 && quickest > process.ClosingTime*3/4; try++ {
			began := time.Now()
			cmd = exec.CommandContext(ctx, words[0], words[1:]...)
			cmd.Env = append(env, mainMarker+"=whoami")
			cmd.ExtraFiles = []*os.File{socket}
			out, err = cmd.CombinedOutput()
			if err != nil || string(out) != "MainProcess false\n" {
				return fmt.Errorf("%q with the socket: %v: %s", words, err, out)
			}
			quickest = min(quickest, time.Since(began))
		}
		if quickest > process.ClosingTime*3/4 {
			return fmt.Errorf("%q with the socket took %v and more", words, quickest)
		}
	}
	return nil
})

func TestChildStartsProgramByHand(t *testing.T) { eachWay(t, testChildStartsProgramByHand) }

func testChildStartsProgramByHand(t *testing.T) {
	join(t, start(t, startByHand, os.Environ()))
}

// Before Main, a child's packages can ask who they are.
var nameAtInit = func() string {
	if os.Getenv("PROCESS_TEST_EARLY") == "" {
		return ""
	}
	return process.Current().Name
}()

var tellNameAtInit = process.Register(func(context.Context, struct{}) error {
	fmt.Print(nameAtInit)
	return nil
})

func TestCurrentDuringInitialisation(t *testing.T) {
	got := run(t, tellNameAtInit, struct{}{}, func(p *process.Process) {
		p.Name = "early bird"
		p.Env = append(os.Environ(), "PROCESS_TEST_EARLY=1")
	})
	if got != "early bird" {
		t.Errorf("%q", got)
	}
}
