// Package syncfault lets fsync(2) fail in a test's process, as it does when a disk is at its end: nothing else in the process knows of it.
//
// It is for a process that ends after the test, since it cannot be taken away from a process again.
//
//	faults, err := syncfault.Install()
//	faults.Fail(syscall.EIO) // from now on
//	faults.Fail(0)           // the disk works again
//
// Disks that fail for real can be had from device mapper (dm-error), as root and where the kernel has it. This needs neither.
package syncfault
