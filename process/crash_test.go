//go:build linux

package process

import (
	"os"
	"strings"
	"testing"
)

func TestParseCrash(t *testing.T) {
	const (
		goroutine = "goroutine 7 [running]:\nmain.f()\n\t/x/main.go:34 +0x6e\ncreated by main.main in goroutine 1\n\t/x/main.go:34 +0x5ba\n"
		throw     = "runtime.throw({0x4f9664?, 0x5dc8a0?})\n\t/go/src/runtime/panic.go:1229 +0x48 fp=0x7ffc1b6a3fb8\n"
	)
	for _, test := range []struct {
		name, text  string
		reason      string
		panicked    bool
		outOfMemory bool
		collecting  bool
	}{
		{name: "panic", text: "panic: oh no\n\n" + goroutine, reason: "oh no", panicked: true},
		{name: "panic of lines", text: "panic: a\n\tb\n\n" + goroutine, reason: "a\nb", panicked: true},
		{name: "panic in a panic", text: "panic: a [recovered]\n\tpanic: b\n\n" + goroutine, reason: "a [recovered]\npanic: b", panicked: true},
		{name: "nil", text: "panic: runtime error: nil\n[signal SIGSEGV: code=0x1]\n\n" + goroutine, reason: "runtime error: nil\n[signal SIGSEGV: code=0x1]", panicked: true},
		{name: "panic without stack", text: "panic: oh no\n", reason: "oh no\n", panicked: true},
		{name: "kill", text: "SIGSEGV: segmentation violation\nPC=0x4 m=0 sigcode=0 addr=0x1bd6\n\n" + goroutine, reason: "SIGSEGV: segmentation violation, sent by a process"},
		{name: "tgkill", text: "SIGABRT: abort\nPC=0x4 m=0 sigcode=-6\n\n" + goroutine, reason: "SIGABRT: abort, sent by a process"},
		{name: "fault in C", text: "SIGSEGV: segmentation violation\nPC=0x4 m=0 sigcode=1 addr=0x0\nsignal arrived during cgo execution\n\n" + goroutine, reason: "SIGSEGV: segmentation violation"},
		{name: "fault in the collector", text: "SIGSEGV: segmentation violation\nPC=0x4 m=6 sigcode=1 addr=0x0\n\ngoroutine 0 gp=0x1 m=6 mp=0x2 [idle]:\nruntime.(*spanQueue).tryDrain(0x400)\n\t/x.go:1\n\n" + goroutine, reason: "SIGSEGV: segmentation violation", collecting: true},
		{name: "kill beside the collector", text: "SIGSEGV: segmentation violation\nPC=0x4 m=6 sigcode=0 addr=0x1\n\ngoroutine 0 gp=0x1 m=6 mp=0x2 [idle]:\nruntime.futex()\n\t/x.go:1\n\n" + goroutine, reason: "SIGSEGV: segmentation violation, sent by a process"},
		{name: "fault", text: "[signal SIGSEGV: segmentation violation code=0x1 addr=0xdead pc=0x4]\n\n" + goroutine, reason: "fatal error: fault: SIGSEGV: segmentation violation code=0x1 addr=0xdead pc=0x4"},
		{name: "stack", text: "\nruntime stack:\n" + throw + "runtime.newstack()\n\t/x.go:1 +0x5\nruntime.morestack()\n\t/x.s:1\n\n" + goroutine, reason: "fatal error: stack overflow"},
		{name: "map", text: "\ngoroutine 22 [running]:\ninternal/runtime/maps.fatal({0x4fb236?, 0x0?})\n\t/x.go:1 +0x18\nmain.f()\n\t/x.go:3\n", reason: "fatal error: concurrent use of a map, at least one a write"},
		{name: "unlock", text: "\ngoroutine 1 [running]:\ninternal/sync.fatal({0x4fd6ef?, 0x4e3c00?})\n\t/x.go:1\ninternal/sync.(*Mutex).unlockSlow(0x3139ea588020, 0xffffffff)\n\t/x.go:1\n", reason: "fatal error: in internal/sync.(*Mutex).unlockSlow, standard error has its text"},
		{name: "memory", text: "\nruntime stack:\n" + throw + "runtime.sysMapOS(0x213a3c800000, 0x400000, {0x4f7b08, 0x4})\n\t/x.go:1 +0x5\n\n" + goroutine, reason: "fatal error: out of memory", outOfMemory: true},
		{name: "memory for spans", text: "\ngoroutine 3 gp=0x1 m=2 [running]:\n" + throw + "runtime.newArenaMayUnlock()\n\t/x.go:1\n", reason: "fatal error: out of memory", outOfMemory: true},
		{name: "a caller of the allocator", text: "\nruntime stack:\n" + throw + "runtime.other()\n\t/x.go:1\nruntime.sysMapOS(0x1)\n\t/x.go:1\n", reason: "fatal error: in runtime.other, standard error has its text"},
		{name: "deadlock", text: "\ngoroutine 1 [select (no cases)]:\nmain.f()\n\t/x.go:1\n", reason: "fatal error: all goroutines are asleep - deadlock!"},
		{name: "trimmed paths", text: "\ngoroutine 3 [running]:\n" + strings.ReplaceAll(throw, "/go/src/", "") + "runtime.newArenaMayUnlock()\n\tx.go:1\n", reason: "fatal error: out of memory", outOfMemory: true},
		{name: "text only", text: "fatal error: something new\n\n" + goroutine, reason: "fatal error: something new"},
		{name: "nonsense", text: "x", reason: "fatal error, standard error has its text"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := parseCrash(test.text)
			if c == nil || c.reason != test.reason || c.panicked != test.panicked || c.outOfMemory != test.outOfMemory || c.collecting != test.collecting {
				t.Errorf("%+v", c)
			}
		})
	}
	if c := parseCrash(""); c != nil {
		t.Errorf("of nothing: %+v", c)
	}
}

// Whatever stands in a crash file, the parent says something of it.
func FuzzCrash(f *testing.F) {
	f.Add("panic: x\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:1\n")
	f.Add("\ngoroutine 3 gp=0x1 m=2 [running]:\nruntime.throw(x)\n\t/x\nruntime.f(x)\n")
	f.Add("SIGSEGV: x\nPC=0x4 m=0 sigcode=0")
	f.Fuzz(func(t *testing.T, text string) {
		c := parseCrash(text)
		if (c == nil) != (text == "") || c != nil && len(c.reason)+len(c.stack) > 2*len(text)+100 {
			t.Fatalf("%+v", c)
		}
	})
}

// A crash file takes no more than its size, and keeps the beginning.
func TestCrashFileIsBounded(t *testing.T) {
	fd, err := newCrashFile()
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "crash")
	defer f.Close()
	if s := readCrashFile(fd); s != "" {
		t.Errorf("a new one holds %q", s)
	}
	for range 2 * crashSize / 100 {
		f.WriteString("begin" + strings.Repeat(".", 95))
	}
	if s := readCrashFile(fd); !strings.HasPrefix(s, "begin") || len(s) < crashSize-100 || len(s) > crashSize {
		t.Errorf("it holds %d bytes, %.10q", len(s), s)
	}
	if s := readCrashFile(-1); s != "" {
		t.Errorf("none holds %q", s)
	}
}
