// Package seg is the mechanism behind every shared object: memory files that
// processes map, who may trust their contents, and which of the processes that
// have one open are alive.
//
// A segment is one file: an anonymous memfd, or a named file on a tmpfs. The
// object's data stands at offset 0, where programs in other languages expect
// it; the object's own bookkeeping (meta) follows; a footer ends the file. See
// [footer] for the layout.
//
// Trust: processes that share a segment trust each other with its contents: any
// of them can corrupt the others' data. What is read at opening (the footer) is
// checked before it is believed, since the file may be anybody's.
//
// Death: each process that has a segment open holds a kernel lock on it under a
// token of its own, which the kernel drops with the last thread of the process;
// see [Mapping.Alive].
//
// A process has one [Mapping] per segment, however many handles to it arrive;
// [Handle] is one of these. The last Close puts zero pages in the place of the
// mapping, so that a slice that somebody kept reads zeros and never faults.
package seg
