package main

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/cwriter"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/go-multiproc/multiproc/array"
)

// stderrIsTerminal reports whether somebody would see progress bars, which go to standard
// error, so that standard output has results only.
func stderrIsTerminal() bool { return cwriter.IsTerminal(int(os.Stderr.Fd())) }

// showProgress draws one bar per file until done is called. The workers write into read how
// many bytes of each file they have got through; to look at it costs them nothing.
func showProgress(files []logFile, read *array.Array[int64]) (done func()) {
	container := mpb.New(mpb.WithOutput(os.Stderr), mpb.WithWidth(40), mpb.WithRefreshRate(100*time.Millisecond))
	bars := make([]*mpb.Bar, len(files))
	for i, f := range files {
		bars[i] = container.AddBar(f.size,
			mpb.PrependDecorators(decor.Name(filepath.Base(f.Name()), decor.WCSyncSpaceR)),
			mpb.AppendDecorators(
				decor.CountersKibiByte("% .1f / % .1f", decor.WCSyncSpace),
				decor.Percentage(decor.WCSyncSpace),
			))
	}
	stop := make(chan struct{})
	var drawing sync.WaitGroup
	drawing.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for running := true; running; {
			select {
			case <-tick.C:
			case <-stop:
				running = false // once more, for the final state
			}
			for i, n := range read.All() {
				bars[i].SetCurrent(n)
			}
		}
	})
	return func() {
		close(stop)
		drawing.Wait()
		// What is not full by now never will be: the file is empty, of unknown size, or shorter
		// than it was, or the job has failed.
		for i, bar := range bars {
			if !bar.Completed() {
				bar.SetTotal(read.Load(i), read.Load(i) > 0)
				bar.Abort(false)
			}
		}
		container.Wait()
	}
}
