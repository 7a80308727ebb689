//go:build !race

package queue

// raceWord is empty in builds without the race detector.
type raceWord struct{}

func (*raceWord) release() {}
func (*raceWord) acquire() {}
