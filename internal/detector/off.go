//go:build !race

package detector

// Enabled: this is a build without the race detector.
const Enabled = false

// Order is empty in builds without the race detector.
type Order struct{}

// Acquire does nothing in builds without the race detector.
func (*Order) Acquire() {}

// Release does nothing in builds without the race detector.
func (*Order) Release() {}
