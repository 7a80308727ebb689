// Package detector tells the race detector what shared memory orders.
//
// The detector sees the Go heap only, and not the mappings where our words stand: it
// would report every piece of heap that one goroutine hands to another by way of
// them. So what orders touches a word of the heap as well, in builds with the
// detector and in no others.
package detector
