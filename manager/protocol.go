package manager

import (
	"encoding/binary"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/codec"
)

// The protocol, in short; docs/protocol.md is its definition, and a test keeps the two in agreement.
//
//	hello    client: [magic, lowest version, highest version, client's name]
//	         server: [magic, version or 0, server id, largest frame]
//	request  [id, operation, argument…]    id 0: there will be no reply
//	reply    [id, 0, result…] or [id, code, text]
//
// A client may send any number of requests before it reads a reply. Those that do not wait for anybody are done in the
// order sent. Replies come in the order in which requests are done.
const (
	magic   = "multiproc-manager"
	version = 1
)

// Operations. The numbers stand in the protocol: they are never reassigned. Each kind of object has a block of 32; dict and list
// have a second one.
const (
	// The connection and objects: 0 to 31.
	opCancel     = 0
	opPing       = 1
	opShutdown   = 2
	opStats      = 3
	opCreate     = 4
	opOpen       = 5
	opRemove     = 6
	opRelease    = 7
	opOffer      = 8
	opClaim      = 9
	opWithdraw   = 10
	opNext       = 11
	opRings      = 12
	opRingsTaken = 13
	opLeave      = 15
	opGiveUp     = 16
	opConfirm    = 17

	// Any object: 18 to 31.
	opCopy           = 18
	opWatch          = 19
	opWatchNext      = 20
	opPlaceGet       = 21
	opPlaceSet       = 22
	opPlaceDelete    = 23
	opPlaceAdd       = 24
	opPlaceAppend    = 25
	opCompareAndSwap = 26
	opNames          = 27 // of the connection, as 0 to 17

	// Dict: 32 to 63, and 448 to 479.
	opDictLen        = 32
	opDictGet        = 33
	opDictSet        = 34
	opDictDelete     = 35
	opDictGetMany    = 36
	opDictSetMany    = 37
	opDictDeleteMany = 38
	opDictPage       = 39
	opDictSnapshot   = 40
	opDictLease      = 41
	opDictCommit     = 42
	opDictHas        = 43
	opDictGetOrSet   = 44
	opDictSwap       = 45
	opDictPop        = 46
	opDictPopNewest  = 47
	opDictClear      = 48
	opDictKeys       = 49
	opDictMerge      = 50
	opDictSetFor     = 448
	opDictExpire     = 449
	opDictTTL        = 450

	// List: 64 to 95, and 480 to 511.
	opListLen      = 64
	opListGet      = 65
	opListSet      = 66
	opListAppend   = 67
	opListInsert   = 68
	opListPop      = 69
	opListSnapshot = 70
	opListSlice    = 71
	opListSplice   = 72
	opListFind     = 73
	opListCount    = 74
	opListRemove   = 75
	opListClear    = 76
	opListReverse  = 77
	opListSort     = 78
	opListExtend   = 79
	opListVersion  = 80
	opListReplace  = 81

	// Set: 96 to 127.
	opSetLen       = 96
	opSetAdd       = 97
	opSetRemove    = 98
	opSetContains  = 99
	opSetPopNewest = 100
	opSetClear     = 101
	opSetPage      = 102
	opSetSnapshot  = 103
	opSetCombine   = 104
	opSetCombined  = 105
	opSetRelates   = 106

	// Queue: 128 to 159.
	opQueueLen         = 128
	opQueueCap         = 129
	opQueuePut         = 130
	opQueuePutMany     = 131
	opQueueGet         = 132
	opQueueTryGet      = 133
	opQueueLease       = 134
	opQueueTryLease    = 135
	opQueueAck         = 136
	opQueueNack        = 137
	opQueueTaskDone    = 138
	opQueueJoin        = 139
	opQueueRecover     = 140
	opQueueDrop        = 141
	opQueueDeadLetters = 142
	opQueueShutdown    = 143

	// Mutex and RMutex: 160 to 191.
	opMutexLock    = 160
	opMutexTryLock = 161
	opMutexUnlock  = 162
	opMutexMend    = 163
	opMutexState   = 164
	opMutexForce   = 165

	// Semaphore: 192 to 223.
	opSemaphoreAcquire    = 192
	opSemaphoreTryAcquire = 193
	opSemaphoreRelease    = 194
	opSemaphoreValue      = 195

	// Cond: 224 to 255.
	opCondWait   = 224
	opCondNotify = 225
	opCondMutex  = 226

	// Event: 256 to 287.
	opEventSet   = 256
	opEventClear = 257
	opEventIsSet = 258
	opEventWait  = 259

	// Barrier: 288 to 319.
	opBarrierWait  = 288
	opBarrierAbort = 289
	opBarrierReset = 290
	opBarrierState = 291

	// Namespace: 320 to 351. It is a dict, and its operations are those of dicts.
	opNamespaceLen      = 320
	opNamespaceGet      = 321
	opNamespaceSet      = 322
	opNamespaceDelete   = 323
	opNamespacePage     = 327
	opNamespaceSnapshot = 328
	opNamespaceLease    = 329
	opNamespaceHas      = 331
	opNamespaceGetOrSet = 332
	opNamespaceSwap     = 333
	opNamespacePop      = 334
	opNamespaceClear    = 336
	opNamespaceKeys     = 337

	// Value: 352 to 383. It is a dict of one key, which is not said.
	opValueGet      = 352
	opValueSet      = 353
	opValueSwap     = 354
	opValueGetOrSet = 355
	opValueLease    = 356

	// Array: 384 to 415. It is a list, and its operations are those of lists.
	opArrayLen      = 384
	opArrayGet      = 385
	opArraySet      = 386
	opArraySnapshot = 387
	opArraySlice    = 388
	opArraySplice   = 389
	opArrayFind     = 390
	opArrayCount    = 391
	opArrayReverse  = 392
	opArraySort     = 393
	opArrayVersion  = 394
	opArrayReplace  = 395
	opArrayFill     = 396

	// Own types: 416 to 447.
	opOwnCall = 416
)

// pageSize is how many bytes of entries one page of a container has, unless a single entry is larger.
const pageSize = 256 << 10

// envelope is how much larger a reply may be than the largest request: a value that came in goes out again, and may be the last of
// a page.
const envelope = pageSize + 4<<10

// tooLarge is the error of what nobody could be told of any more.
func tooLarge(what string, size int, o Options) error {
	return &failure{codeTooLarge, fmt.Sprintf("%s has %d bytes, and a message at most %d (the server's Options.MaxMessage)", what, size, o.maxMessage())}
}

// maxParams is how many parameters an object may be made with.
const maxParams = 16

// frameSpace is room for a frame's header and the head of a request or reply, which are written last.
const frameSpace = frameHeader + 1 + 9

// sealFrame writes the frame header, the array head and the id before the arguments, which begin at frameSpace. It
// returns the frame.
func sealFrame(b []byte, id uint64, args int) []byte {
	var head [frameSpace]byte
	h := appendHead(head[:0], codec.Array, uint64(1+args))
	h = appendUint(h, id)
	start := frameSpace - len(h)
	copy(b[start:], h)
	start -= frameHeader
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-frameHeader))
	return b[start:]
}

type clientHello struct {
	lowest, highest uint64
	name            string
}

func (h clientHello) append(b []byte) []byte {
	b = appendHead(b, codec.Array, 4)
	b = appendText(b, magic)
	b = appendUint(b, h.lowest)
	b = appendUint(b, h.highest)
	return appendText(b, h.name)
}

func readClientHello(b []byte) (h clientHello, err error) {
	r := itemReader{b: b}
	n := r.array()
	if m := r.text(); r.err != nil || m != magic || n < 4 {
		return h, fmt.Errorf("%w: its first message is not a hello", errFrame)
	}
	h.lowest, h.highest, h.name = r.uint(), r.uint(), r.text()
	// What a later version may say behind this is not ours to judge.
	return h, r.err
}

type serverHello struct {
	version uint64 // 0: none in common
	id      []byte
	max     uint64
}

func (h serverHello) append(b []byte) []byte {
	b = appendHead(b, codec.Array, 4)
	b = appendText(b, magic)
	b = appendUint(b, h.version)
	b = appendBytes(b, h.id)
	return appendUint(b, h.max)
}

func readServerHello(b []byte) (h serverHello, err error) {
	r := itemReader{b: b}
	n := r.array()
	if m := r.text(); r.err != nil || m != magic || n < 4 {
		return h, fmt.Errorf("%w: its first message is not a hello", errFrame)
	}
	h.version, h.id, h.max = r.uint(), append([]byte(nil), r.bytes()...), r.uint()
	return h, r.err
}
