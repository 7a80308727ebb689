package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/cmd/demo/internal/accesslog"
	"github.com/go-multiproc/multiproc/pipe"
	"github.com/go-multiproc/multiproc/process"
	"github.com/go-multiproc/multiproc/value"
)

// fileStats is what is wanted of one file.
type fileStats struct {
	File    string `json:"file"`
	Visits  int64  `json:"visits"`
	Clients int    `json:"clients"`
}

// logJob is what every worker is given. They share the work by taking the next part from a
// counter in shared memory, so that nobody has to hand it out, and a fast one does more.
type logJob struct {
	Files  []*os.File // opened by the parent; the workers read at offsets of their own
	Parts  []logPart
	Next   *value.Value[int64] // index of the first part that nobody has taken
	Read   *array.Array[int64] // bytes of each file read so far, for the progress bars
	Result *pipe.Conn
}

// A logPart is a stretch of one of the files.
type logPart struct {
	File       int
	Part       accesslog.Part
	Sequential bool // not a file that one can read at an offset: a pipe, a terminal
}

// logResult is what a worker has to say about one file. The clients follow in batches, so
// that no message is as large as the set of them.
type logResult struct {
	File    int
	Parts   int // how many parts of it this settles, said with the last batch
	Visits  int64
	Clients []byte
}

const batchSize = 1 << 20

var countParts = process.Register(func(ctx context.Context, j logJob) error {
	// Whoever waits at a pipe for more to read must not wait on when the work is called off.
	defer context.AfterFunc(ctx, func() {
		for _, f := range j.Files {
			f.SetReadDeadline(time.Now()) // of files on disk an error, and not needed
		}
	})()
	var stats accesslog.Stats // of the parts of one file
	file, parts := 0, 0
	settle := func() error {
		if parts == 0 {
			return nil
		}
		for batch := range stats.Clients.Batches(batchSize) {
			if err := j.Result.Send(logResult{File: file, Clients: batch}); err != nil {
				return err
			}
		}
		err := j.Result.Send(logResult{File: file, Parts: parts, Visits: stats.Visits})
		stats, parts = accesslog.Stats{}, 0
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		taken := value.Add(j.Next, 1) - 1
		if taken >= int64(len(j.Parts)) {
			return settle()
		}
		p := j.Parts[taken]
		if p.File != file {
			if err := settle(); err != nil {
				return err
			}
			file = p.File
		}
		from := io.ReaderAt(j.Files[file])
		if p.Sequential {
			from = accesslog.Stream(j.Files[file])
		}
		if err := stats.Count(from, p.Part, func(n int64) { array.Add(j.Read, file, n) }); err != nil {
			return err
		}
		parts++
	}
})

// logOptions say how countLogs works.
type logOptions struct {
	workers  int
	partSize int64
	progress func(files []logFile, read *array.Array[int64]) (done func()) // nil = none
}

// A logFile is a file to count, open.
type logFile struct {
	*os.File
	size  int64 // in bytes; 0 = unknown
	parts []logPart
}

// countLogs counts the files with worker processes.
func countLogs(ctx context.Context, names []string, o logOptions) ([]fileStats, error) {
	files, err := openLogs(names, o.partSize)
	defer closeLogs(files)
	if err != nil {
		return nil, err
	}
	next, err := value.NewRaw[int64](0)
	if err != nil {
		return nil, err
	}
	defer next.Close()
	read, err := array.NewRaw[int64](len(files))
	if err != nil {
		return nil, err
	}
	defer read.Close()
	if o.progress != nil {
		defer o.progress(files, read)()
	}

	job := logJob{Next: next, Read: read}
	tally := newTally(files)
	for _, f := range files {
		job.Files = append(job.Files, f.File)
		job.Parts = append(job.Parts, f.parts...)
	}

	// When one worker fails, the others need not go on.
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var workers sync.WaitGroup
	for i := range min(o.workers, len(job.Parts)) {
		var r *pipe.Conn
		if r, job.Result, err = pipe.NewOneWay(); err != nil {
			stop(err)
			break
		}
		p := process.New(countParts, job)
		p.Name = fmt.Sprintf("logstats-%d", i+1)
		if err := p.Start(); err != nil {
			stop(errors.Join(err, r.Close(), job.Result.Close()))
			break
		}
		workers.Go(func() {
			defer r.Close()
			defer context.AfterFunc(ctx, func() { p.Kill() })()
			err := tally.receive(r)
			if joinErr := p.Join(context.WithoutCancel(ctx)); joinErr != nil {
				err = joinErr // the reason why nothing more came
			}
			if err != nil {
				stop(err)
			}
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return tally.stats, nil
}

// openLogs opens the files and cuts them into parts. It reports every file that cannot be
// read, not just the first. The files that it returns are open, also with an error.
func openLogs(names []string, partSize int64) (files []logFile, err error) {
	var errs []error
	for i, name := range names {
		f, err := os.Open(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		files = append(files, logFile{File: f})
		info, err := f.Stat()
		switch {
		case err != nil:
			errs = append(errs, err)
		case info.IsDir():
			errs = append(errs, fmt.Errorf("%s is a directory; name the log files in it", name))
		case info.Mode().IsRegular():
			file := &files[len(files)-1]
			file.size = info.Size()
			for _, p := range accesslog.Split(file.size, partSize) {
				file.parts = append(file.parts, logPart{File: i, Part: p})
			}
		default:
			files[len(files)-1].parts = []logPart{{File: i, Part: accesslog.Part{Length: -1}, Sequential: true}}
		}
	}
	return files, errors.Join(errs...)
}

func closeLogs(files []logFile) {
	for _, f := range files {
		f.Close()
	}
}

// A tally puts together what the workers found.
type tally struct {
	mu      sync.Mutex
	stats   []fileStats         // complete when no part is missing
	clients []accesslog.Clients // of files that are not complete
	missing []int               // parts
}

func newTally(files []logFile) *tally {
	t := &tally{
		stats:   make([]fileStats, len(files)),
		clients: make([]accesslog.Clients, len(files)),
		missing: make([]int, len(files)),
	}
	for i, f := range files {
		t.stats[i].File, t.missing[i] = f.Name(), len(f.parts)
	}
	return t
}

// receive takes the results of one worker, until it has no more.
func (t *tally) receive(r *pipe.Conn) error {
	for {
		var result logResult
		switch err := r.Recv(&result); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
		if err := t.add(result); err != nil {
			return err
		}
	}
}

func (t *tally) add(r logResult) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.clients[r.File].AddBatch(r.Clients); err != nil {
		return err
	}
	t.stats[r.File].Visits += r.Visits
	t.missing[r.File] -= r.Parts
	if t.missing[r.File] == 0 {
		t.stats[r.File].Clients = t.clients[r.File].Len()
		t.clients[r.File] = accesslog.Clients{} // the memory of a finished file
	}
	return nil
}
