// Package pool runs registered functions, tasks, in worker processes that it keeps, and hands out their results as futures.
//
// The program and its workers are one program and trust each other with everything that they share. Strangers get no say: they talk over memory and
// sockets without names, and what arrives is checked all the same.
//
// A worker that dies, however it dies, fails the task that it was running, with a [*WorkerDiedError] that says why, and no other: results that it had
// finished are there, tasks that it had been sent and not begun run elsewhere, once. Another worker takes its place. Which task it was running
// is certain, since each has a state word in memory that both share, and is never judged by time. [TaskOptions.Retries] runs a task again whose worker died. When the program
// dies, by kill -9 included, its workers end with it.
//
// A pool is closed with [Pool.Close], which lets what was submitted run, or [Pool.Terminate], which does not; [Pool.Join] waits for the end. At the program's normal
// exit workers are stopped.
//
//	var square = pool.Register(func(ctx context.Context, n int) (int, error) { return n * n, nil })
//
//	func main() { process.Main(run) }
//
//	func run() int {
//		p, err := pool.New(pool.Options{Workers: 4})
//		squares, err := square.Map(ctx, p, numbers)
//		f, err := square.Submit(ctx, p, 7)
//		n, err := f.Result(ctx)
//		…
//	}
//
// Arguments and results are copied, and may hold handles (values, arrays, locks, queues, files, connections) anywhere. A task's handles are closed when it returns, unless it
// calls [Keep]; those of a result are the receiver's. A pool is not a handle: a task cannot submit to the pool that runs it, and so not wait for itself.
//
// What waits is bounded by [Options.Backlog], what streams by [TaskOptions.Window]; [Pool.Stats], [Pool.Workers], Progress and Log show what goes on. How tasks are dealt out, and all that can go wrong with
// one, is in docs/pools.md.
//
// For tasks that need no process of their own use [NewGoroutines], which is the same to callers. For one long job use package process. For work that outlives
// the program, or comes from several, use package queue.
package pool
