//go:build !race

package rwlock

// raceWord is empty in builds without the race detector.
type raceWord struct{}

func (raceWord) raceAcquire() {}
func (raceWord) raceRelease() {}
