// Package explore runs shipped code on shared memory through every interleaving of
// some processes, with a death at every step.
//
// It exists under the build tag multiproc_explore only. There, each step on shared memory
// that code takes by way of package mem (a load, a compare-and-swap, falling asleep, a
// wake-up, half of a copy) stops in a scheduler. The scheduler tries everything that
// can happen next: any process takes its step, is killed before it, or has the end of its
// slice, a wake-up for no reason, or the end of its context come first. What is
// explored is not a model of the code but the code.
//
// # How
//
// What a process does is a function of what its steps have returned. So the code is run
// only to find out what it does after something new; all that was found out is kept as a
// graph for each process, and a state of the whole is the shared memory, the place of
// each process in its graph, and who is asleep, dead, and inside. The search visits each state
// once, those first that take the fewest steps, so that what it finds is shown by the
// shortest way there.
//
// A process may have several goroutines, started by mem.Go, which wait for each other by
// mem.Mutex and mem.Await. Between two steps on shared memory, its goroutines run until
// all have come to one, in the order in which they can: other orders are not tried.
// The memory is sequentially consistent, as Go's atomics are.
//
// # What is checked
//
//   - What the model says, of every state (Always), at the end (Finally), and whenever the
//     code gets somewhere (Process.Note).
//   - Nobody runs for ever without a way out.
//   - While nobody has died, nobody ever needs the end of a slice: in every state in which no
//     process takes a step, all have finished.
//   - When somebody has died, the survivors need the end of no more than one slice each.
//   - No panic.
//
// # A model
//
//	func TestExploreSemaphore(t *testing.T) {
//		m := explore.Model{
//			Name: "semaphore, 1 permit", Size: 128, Ghost: 1, Deaths: 1, Spurious: 1,
//			Init: func(memory []byte) { initSemaphore(memory, 1) },
//			Died: func(v *explore.View, actor int) { … v.Ghost.Set(0, 0) … },
//		}
//		for range 3 {
//			m.Actors = append(m.Actors, explore.Actor{Run: func(p *explore.Process) {
//				s := newSemaphore(p.Handle())        // each run makes its own
//				p.At(0)                              // nothing before matters
//				if err := s.Acquire(p.Context()); err != nil {
//					p.Failf("Acquire: %v", err)
//				}
//				p.At(1)
//				p.Note(func(v *explore.View) {       // at the very step that got it
//					if v.Ghost.Add(0, 1) > 1 {
//						v.Failf("two permits of one")
//					}
//				})
//				p.Step()                             // others act meanwhile
//				p.Note(func(v *explore.View) { v.Ghost.Add(0, ^uint64(0)) })
//				s.Release()
//			}})
//		}
//		explore.Check(t, m)
//	}
//
// Such tests stand in a file with the tag, next to the code, in its package if they have to
// see its insides. `go test -tags multiproc_explore -run Explore ./...` runs them.
//
// The code under test must not look at the clock, at random numbers or at maps' order, and
// must not start goroutines or wait for channels by itself: mem.Elapsed, mem.Go,
// mem.Await and mem.Mutex are there for that. Spinning is left out by the model (it only
// repeats what newcomers do): set what says that there is one CPU.
// All words that it looks at between steps are constant, or accessed through package
// mem. Process.Handle gives each actor a handle with a token of its own; seg.Mapping.Alive
// asks the scheduler.
//
// # Marks
//
// A loop that waits goes around any number of times, and a search without end would follow.
// So the code says, by mem.Mark, where its past does not matter but for some variables:
//
//	for {
//		mem.Mark("semaphore.wait", uint64(slice))
//		…
//		mem.Mark("semaphore.asleep", uint64(slice)) // nor does what was seen
//		end := mem.Wait(w, seen, slice)
//		…
//
// In normal builds that is nothing. A Mark speaks for the variables of its function; where
// its callers are is known from the stack; what they know has to be said by the body of
// the actor, by Process.At with its loop counters and whatever else it will use. Without
// At, marks in functions that the body calls are ignored. What a process keeps in
// memory of its own between calls (a local queue, a count of turns) has to be
// shown by Process.Digest, or said to At; a process with several goroutines needs a Digest. Marks
// pay: they are the difference between thousands of states and millions. Place them at the
// heads of loops, before mem.Wait, and after a step whose past is of no use any more.
//
// Who calls functions that it does not know (a callback) stands between mem.Enter and
// mem.Leave: Marks in there do not forget what was known before.
//
// A wrong Mark hides faults. So each search, when it found nothing, takes a sample of the
// places that Marks have made one, and runs the code both ways on from there; if it does
// not do the same, that is reported as a violation.
//
// # Bounds
//
// States multiply. Model.Deaths, Spurious and Cancels say how many of each there may be in
// a run; 3 actors with one call each and one death are what finds faults. Model.Slices
// bounds the ends of slices, which otherwise come at any time and any number of times; set
// it where each round of waiting leaves another value in memory, as an eventcount does, since
// then there would be no end. Model.Late has some of them come only when nobody runs any
// more. Model.Keep leaves memory out that is never written, Model.Patient the branches of those
// who lose their patience. Process.Acquire stands for a lock that is explored by itself.
//
// # What is left out
//
// Spinning; the closing of handles; orders of a process's goroutines between two steps
// on shared memory; memory that is weaker than sequentially consistent; more actors, rounds and
// deaths than a model has. Those are for the tests that kill real processes.
package explore
