package sys

import "time"

// Usage is what a process has used.
type Usage struct {
	CPU  time.Duration // of all its threads
	Peak int64         // the most memory it had at a time, in bytes, what it shares with others included; 0: not known
}
