package shm_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/shm"
)

// Programs that are not related meet at a name.
func ExampleCreate() {
	name := fmt.Sprint("multiproc-example-", os.Getpid())
	s, err := shm.Create(name, 1<<20)
	if err != nil {
		log.Fatal(err)
	}
	defer shm.Remove(name)
	defer s.Close()
	copy(s.Bytes(), "hello")

	// In the other program:
	t, err := shm.Open(name)
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()
	fmt.Printf("%s, %d bytes\n", t.Bytes()[:5], t.Size())
	// Output: hello, 1048576 bytes
}

// What killed programs left behind is found and removed, and nothing else is.
func ExampleReap() {
	dir, err := os.MkdirTemp("/dev/shm", "multiproc-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	here := shm.Options{Dir: dir}
	used, err := shm.Create("used", 100, here)
	if err != nil {
		log.Fatal(err)
	}
	defer used.Close()
	left, err := shm.Create("left", 100, here)
	if err != nil {
		log.Fatal(err)
	}
	left.Close()

	removed, err := shm.Reap(here)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range removed {
		fmt.Println(s.Name, s.Kind, s.Size)
	}
	// Output: left segment 100
}

// A segment is memory. Child processes get it as an argument.
func Example() {
	s, err := shm.New(4096)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	copy(s.Bytes()[100:], "seen by all")
	kept := s.Bytes()[100:111]
	fmt.Printf("%q\n", kept)

	s.Close()
	fmt.Printf("%q\n", kept[:3]) // no fault: zeros
	// Output:
	// "seen by all"
	// "\x00\x00\x00"
}

// Who has something open, who holds it, and since when.
func ExampleInspect() {
	dir, err := os.MkdirTemp("/dev/shm", "multiproc-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	here := shm.Options{Dir: dir}
	mu, err := psync.CreateMutex("index", here)
	if err != nil {
		log.Fatal(err)
	}
	defer mu.Close()
	if err := mu.Lock(context.Background()); err != nil {
		log.Fatal(err)
	}
	defer mu.Unlock()

	st, err := shm.Inspect("index", here)
	if err != nil {
		log.Fatal(err)
	}
	holder := st.Parts[0].Holders[0]
	fmt.Println(st.Kind, len(st.Users), holder.PID == os.Getpid(), holder.Alive)
	// Output: mutex 1 true true
}

// A file that some other program made, and whose layout the two have agreed upon.
func ExampleOpenRaw() {
	dir, err := os.MkdirTemp("/dev/shm", "multiproc-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "psm_1234"), []byte("made elsewhere"), 0o600); err != nil {
		log.Fatal(err)
	}

	s, err := shm.OpenRaw("psm_1234", shm.Options{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	fmt.Printf("%s\n", s.Bytes()[:14])
	// Output: made elsewhere
}
