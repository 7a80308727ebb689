package manager

import "github.com/go-multiproc/multiproc/internal/store"

// A manner is how an operation treats what is stored.
type manner uint8

const (
	changes manner = iota // it may add something
	shrinks               // it changes something, and adds nothing
	reads                 // it changes nothing; or it sees to being admitted itself
)

// manners has what is not known to change and to add. What is missing here is refused when memory or disk are full, although it need not be; so
// nothing bad happens.
var manners = [len(operations)]manner{
	opCancel:   reads,
	opPing:     reads,
	opShutdown: reads,
	opStats:    reads,
	opCreate:   reads, // the store asks
	opOpen:     reads, // likewise, if there is something to be made
	opRemove:   shrinks,
	opRelease:  reads,
	opOffer:    reads,
	opClaim:    reads,
	opWithdraw: reads,
	opNext:     reads,
	opNames:    reads,

	opRings:       reads,
	opRingsTaken:  reads,
	opWatch:       reads,
	opWatchNext:   reads,
	opPlaceGet:    reads,
	opPlaceDelete: shrinks,

	opDictLen:        reads,
	opDictGet:        reads,
	opDictGetMany:    reads,
	opDictPage:       reads,
	opDictSnapshot:   reads,
	opDictLease:      reads,
	opDictHas:        reads,
	opDictKeys:       reads,
	opDictTTL:        reads,
	opDictDelete:     shrinks,
	opDictDeleteMany: shrinks,
	opDictPop:        shrinks,
	opDictPopNewest:  shrinks,
	opDictClear:      shrinks,
	opDictExpire:     shrinks,

	opListLen:      reads,
	opListGet:      reads,
	opListSnapshot: reads,
	opListSlice:    reads,
	opListFind:     reads,
	opListCount:    reads,
	opListVersion:  reads,
	opListPop:      shrinks,
	opListRemove:   shrinks,
	opListClear:    shrinks,
	opListReverse:  shrinks,
	opListSort:     shrinks,

	opSetLen:       reads,
	opSetContains:  reads,
	opSetPage:      reads,
	opSetSnapshot:  reads,
	opSetRelates:   reads,
	opSetRemove:    shrinks,
	opSetPopNewest: shrinks,
	opSetClear:     shrinks,

	opNamespaceLen:      reads,
	opNamespaceGet:      reads,
	opNamespacePage:     reads,
	opNamespaceSnapshot: reads,
	opNamespaceLease:    reads,
	opNamespaceHas:      reads,
	opNamespaceKeys:     reads,
	opNamespaceDelete:   shrinks,
	opNamespacePop:      shrinks,
	opNamespaceClear:    shrinks,

	opValueGet:   reads,
	opValueLease: reads,

	opLeave:               reads,
	opGiveUp:              reads,
	opConfirm:             reads,
	opQueueLen:            reads,
	opQueueCap:            reads,
	opQueueDeadLetters:    reads,
	opQueueJoin:           reads,
	opQueueTaskDone:       reads,
	opQueueRecover:        reads,
	opQueueAck:            shrinks,
	opQueueNack:           shrinks,
	opQueueGet:            shrinks,
	opQueueTryGet:         shrinks,
	opQueueLease:          shrinks,
	opQueueTryLease:       shrinks,
	opQueueDrop:           shrinks,
	opQueueShutdown:       shrinks,
	opMutexLock:           reads,
	opMutexTryLock:        reads,
	opMutexUnlock:         reads,
	opMutexMend:           reads,
	opMutexState:          reads,
	opMutexForce:          reads,
	opSemaphoreAcquire:    reads,
	opSemaphoreTryAcquire: reads,
	opSemaphoreRelease:    reads,
	opSemaphoreValue:      reads,
	opCondWait:            reads,
	opCondNotify:          reads,
	opCondMutex:           reads,
	opEventSet:            reads,
	opEventClear:          reads,
	opEventIsSet:          reads,
	opEventWait:           reads,
	opBarrierWait:         reads,
	opBarrierAbort:        reads,
	opBarrierReset:        reads,
	opOwnCall:             reads,
	opBarrierState:        reads,

	opArrayLen:      reads,
	opArrayGet:      reads,
	opArraySnapshot: reads,
	opArraySlice:    reads,
	opArrayFind:     reads,
	opArrayCount:    reads,
	opArrayVersion:  reads,
	opArrayReverse:  shrinks,
	opArraySort:     shrinks,
}

// admit asks the store whether a request may be done. What it adds at most, and what will be noted of it, is seen from
// its size.
func (s *session) admit(r *request, size int) (d store.Demand, err error) {
	m := manners[r.op]
	if m == reads {
		return d, nil
	}
	d.Record = int64(size + 16*r.items)
	if m == changes {
		d.Entries = 1
		switch r.op {
		case opListAppend, opSetAdd, opQueuePutMany:
			d.Entries = int64(r.items - 1)
		case opListReplace:
			d.Entries = int64(r.items - 2)
		case opListSplice:
			d.Entries = int64(r.items - 3)
		case opDictSetMany:
			d.Entries = int64(r.items / 2)
		}
		d.Entries = max(d.Entries, 1)
		d.Bytes = int64(size) + store.EntryBytes*d.Entries
	}
	if err := s.server.store.Admit(d); err != nil {
		return store.Demand{}, err
	}
	return d, nil
}
