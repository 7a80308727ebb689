package journal

// Write writes what is staged to the log.
func (j *Journal) Write() error { return j.write() }

// StageHalf is how much can be staged before it is written.
const StageHalf = stageHalf

// StageHead is where the first half begins in the stage's file.
const StageHead = stageHead
