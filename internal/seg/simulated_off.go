//go:build !multiproc_explore

package seg

// simulated has an answer under the explorer only.
func simulated(token uint64) (alive, ok bool) { return false, false }
