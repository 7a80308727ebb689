// Command empty does nothing, in two processes: itself and a copy that it executes. It prints the copy's process id and waits, as that
// does, for the end of its standard input.
package main

import "os"

func main() {
	if len(os.Args) == 1 {
		p, err := os.StartProcess("/proc/self/exe", []string{"empty", "copy"}, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
		if err != nil {
			panic(err)
		}
		println(p.Pid)
	}
	os.Stdin.Read(make([]byte, 1))
}
