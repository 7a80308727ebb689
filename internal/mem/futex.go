package mem

// An End is how a sleep ended.
type End int

// These are the ends of a sleep.
const (
	Woken   End = iota // or a signal came, or for no reason, which nobody can tell apart
	Skipped            // the word was not what the sleeper had seen
	Over               // the time was up
)

// String names e.
func (e End) String() string { return [...]string{"woken", "skipped", "over"}[e] }
