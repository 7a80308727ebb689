// Package crash marks the places where the tests let a process die.
//
// At(label) stands between two steps of an algorithm on shared memory. In normal
// builds it is an empty function that the compiler removes. Under the build tag
// multiproc_crash, a process that was started with MULTIPROC_CRASH=label:n sends
// itself SIGKILL when it reaches that label for the n-th time (the first is 1),
// so that a test can kill a real process at every step.
package crash
