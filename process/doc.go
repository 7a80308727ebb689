// Package process starts registered functions of this program in child processes, waits for them, and stops them.
//
// Parent and child are the same program and trust each other with everything that they share. Strangers get no
// say: the two talk over a socket that has no name, and what arrives on it is checked all the same.
//
// When a child dies, however it dies, Join returns within moments, with an [*ExitError] that tells how: its error,
// its panic with the stack, the Go runtime's fatal error, its exit code, its signal, and whether it went beyond a
// limit. When a parent dies, by kill -9 included, the kernel closes its end of the sockets, and its children end at
// once, their children in turn; [Process.Detach] opts out. At its normal exit [Main] waits for children, and stops
// those that are daemons.
//
// A Process has nothing to close: what it holds of the system is given back when the child has ended, whether or not anybody
// calls Join, and no zombie is left. [Process.Close] makes a handle unusable, so that later use of it is noticed.
//
//	type job struct {
//		Count *value.Value[int64] // handles cross into the child like any other argument
//		Lines []string
//	}
//
//	var countLines = process.Register(func(ctx context.Context, j job) error { … })
//
//	func main() { process.Main(run) } // in a child: runs the registered function and exits
//
//	func run() int {
//		p := process.New(countLines, job{n, lines})
//		if err := p.Start(); err != nil { … }
//		if err := p.Join(ctx); err != nil { … }
//		return 0
//	}
//
// A program that does not call [Main] calls [Init] as the first thing in its main function (a library's tests: in TestMain).
//
// A child is this program, executed anew; package initialisation runs in it, and main as far as Main or Init. It
// is not a fork, which Go cannot do: see docs/processes.md. [SetStartMethod] chooses between three ways to do that; with [ForkServer] it
// is done in advance. Its os.Args are the parent's, and nobody has parsed
// its flags.
//
// To run another program, use os/exec. For many short jobs, use package pool, which keeps its processes. For work
// that needs neither a crash barrier nor limits of its own, use goroutines.
package process
