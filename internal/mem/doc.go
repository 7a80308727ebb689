// Package mem is the memory that processes share, one step at a time.
//
// Every step that an algorithm takes on shared memory goes through here: loads,
// stores, compare-and-swaps, sleeping, waking, copying payloads. In normal builds
// a Uint64 is an atomic.Uint64 and each function is a call that the compiler puts
// in place, so a step costs what it costs anyway. Under the build tag
// multiproc_explore each step is announced to a scheduler first ([Hook]), which
// package internal/explore uses to run the very same source through every
// interleaving, with a death at every step.
//
// A type parameter for the memory would have needed no tag; but calls through it
// go by way of a dictionary and are not put in place: a load and a
// compare-and-swap take 4.2 ns that way instead of 2.6.
package mem
