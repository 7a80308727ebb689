package shm_test

import (
	"fmt"
	"log"
	"os"

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
