// Package registered lets packages above package process call the functions that are registered there, without their types.
//
// It holds functions that package process sets when it is initialised. Nothing crosses between processes here, and there is nothing to close.
package registered

import "context"

var (
	// Begun reports whether process.Main or process.Init was called, which ends the time of registering.
	Begun func() bool

	// Describe returns what another process of this program finds fn by, which must be a *process.Func.
	Describe func(fn any) []byte

	// Leave is called by package process when this process is about to end in good order, whatever it has not closed.
	Leave = func() {}

	// Prepare makes a call of the function that Describe described and of arguments in package handover's form. It owns fds.
	Prepare func(description, data []byte, fds []int) (call func(context.Context) error, err error)
)
