package store

// What a change depends on may be in the value that is there, and what that says only the front end knows. So it brings a function that looks at
// the value and gives its verdict, under the container's lock.

// An Action is what becomes of an entry.
type Action uint8

// Actions.
const (
	Keep   Action = iota // it stays as it is
	Put                  // it gets another value, and is made if there is none
	Remove               // it is removed
)

// A Verdict says what is to become of an entry.
type Verdict struct {
	Do    Action
	Value Value // for Put
	Fresh bool  // for Put: a time to live ends
	Fetch bool  // the value that was there is wanted
}

// An Editor decides what is to become of an entry, of which it is told the value; ok is false if there is none. It must not block, nor keep the session waiting
// for anything. If it fails, nothing changes. The references in what it is shown are nobody's.
type Editor func(old Value, ok bool) (Verdict, error)
