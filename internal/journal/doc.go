// Package journal keeps a sequence of records on disk, so that a program that is killed
// finds them all again: the manager's store notes each change in one. What is in the
// records it does not know.
//
// The directory is trusted: whoever can write in it decides what is found there, though
// no content of it makes the reader fail in any other way than with an error. Only one
// process may have a directory open; seeing to that is the caller's affair.
//
// What Flush has returned for was given to the kernel, and so outlives the death
// of the process at any moment: it was copied into a file that is mapped, the stage, or, where there is none and for what is too long for it, written with write(2).
// With SyncAlways it is written, and synced. A machine that loses its power keeps what was synced; Options.Sync
// says when that is. Of what was being written last, a beginning may be there; [Open] finds
// the end of what is whole. A record is there as a whole or not at all, and if it is there, so are all before it.
//
// A full disk does not come as a surprise: space is set aside beforehand, in a file, for
// what was admitted ([Journal.Admit]). Admit refuses when no more can be set aside, before anything has changed.
//
// A disk that fails to sync what it was given is not asked twice: after that the kernel finds nothing to complain of. Nothing is admitted
// and, with SyncAlways, Flush returns the error, until a checkpoint has written everything anew. So a journal without Options.Compact has to be opened anew.
//
// The log does not grow for ever. A [Checkpoint] is a second, shorter way to the same state,
// written by the caller while the log goes on; once it is complete, what stands in the log before it is removed.
//
// [Journal.Close] writes and syncs what is left. It is not needed for anything to be found again.
//
//	j, err := journal.Open(dir, journal.Options{}, load)
//	w := j.Begin()
//	w.Text("answer")
//	w.Uint(42)
//	w.End()
//	err = j.Flush()
//
// On disk:
//
//	log-N/         the log's part number N, of github.com/tidwall/wal
//	snapshot-N/    a checkpoint, written likewise: what was noted before log N
//	reserve        the space set aside
//	stage          records that go on where the log ends: those of the last second at most
//
// Each entry of such a log holds, after a head that says what it is part of, a piece of a stream of
// bytes, which consists of records, each with its length in front. Pieces have checksums and say at which byte of the stream they
// begin. A file is never appended to after it was opened again: each Open begins
// a new part, at the end of what is whole.
//
// For a sorted or a large collection, of which only a part is needed at a time, a database is better.
package journal
