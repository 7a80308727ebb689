package psync

// FileLockWaiters is how many goroutines wait for l's file.
func FileLockWaiters(l *FileLock) int {
	f, err := fileLocks.enter(l.path)
	if err != nil {
		panic(err)
	}
	defer fileLocks.leave(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.queue.Len()
}

// FileLocksInUse is how many files this process holds or waits for.
func FileLocksInUse() int {
	fileLocks.mu.Lock()
	defer fileLocks.mu.Unlock()
	return len(fileLocks.files)
}
