// Package torture is a test of promises about death: processes work on shared objects
// while others of them are killed and stopped at random, and in the end nothing may be
// lost, doubled, hung or left behind.
//
//	make torture KILLS=10000        # SEED=n repeats the choices of a run
//
// Each act is one kind of object with an invariant that a lost or doubled step would
// break; the kills are shared among them. go test runs a short one of each.
package torture
