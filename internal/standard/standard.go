// Package standard is what a child has from its parent's package os, and how pools, which
// start children when none of the program's calls is on, pass it on to package process.
//
// The variables of package os are the program's, which may set them any time that it does not
// itself call something that looks at them.
package standard

import "os"

// Variables are those of package os.
type Variables struct {
	Args           []string
	Stdout, Stderr *os.File
}

// Now looks at them. Only a call of the program may do so.
func Now() Variables { return Variables{os.Args, os.Stdout, os.Stderr} }

// Start is (*process.Process).Start for a p whose program had these variables. It is package process's, which sets it.
var Start func(p any, had Variables) error
