package manager

import "context"

// An operation does a request and replies. It reads all arguments before it does anything, checks with ok that they are what
// they should be, and keeps none of their memory. With store.NoWait it returns store.ErrBusy instead of waiting, and has done nothing. An
// error that it returns is the reply.
type operation func(r *request, ctx context.Context) error

// variable is the number of arguments where that varies: at least one.
const variable = -1

// operations has what the protocol's numbers stand for. Numbers between them have none.
var operations = [...]struct {
	do     operation
	args   int  // how many it has; variable: one or more
	silent bool // it may be sent without wanting a reply
}{
	// The connection and objects.
	opCancel:     {do: (*request).cancelOther, args: 1, silent: true},
	opPing:       {do: (*request).ping},
	opShutdown:   {do: (*request).shutdown},
	opStats:      {do: (*request).stats},
	opCreate:     {do: (*request).create, args: variable},
	opOpen:       {do: (*request).open, args: variable},
	opRemove:     {do: (*request).remove, args: 1},
	opRelease:    {do: (*request).release, args: variable, silent: true},
	opOffer:      {do: (*request).offer, args: 1},
	opClaim:      {do: (*request).claim, args: 1},
	opWithdraw:   {do: (*request).withdraw, args: 1, silent: true},
	opNext:       {do: (*request).next, args: 1},
	opRings:      {do: (*request).offerRings},
	opRingsTaken: {do: (*request).takeRings, args: 1, silent: true},
	opGiveUp:     {do: (*request).giveUp, args: 1, silent: true},
	opConfirm:    {do: (*request).confirm, args: variable, silent: true},
	opLeave:      {do: (*request).leave, silent: true},
	opNames:      {do: (*request).names},

	// Any object.
	opCopy:           {do: (*request).copy, args: 1},
	opWatch:          {do: (*request).watch, args: variable},
	opWatchNext:      {do: (*request).watchNext, args: 2},
	opPlaceGet:       {do: (*request).placeGet, args: variable},
	opPlaceSet:       {do: (*request).placeSet, args: variable},
	opPlaceDelete:    {do: (*request).placeDelete, args: variable},
	opPlaceAdd:       {do: (*request).placeAdd, args: variable},
	opPlaceAppend:    {do: (*request).placeAppend, args: variable},
	opCompareAndSwap: {do: (*request).compareAndSwap, args: variable},

	// Dict.
	opDictLen:        {do: (*request).dictLen, args: 1},
	opDictGet:        {do: (*request).dictGet, args: 2},
	opDictSet:        {do: (*request).dictSet, args: 3},
	opDictDelete:     {do: (*request).dictDelete, args: 2},
	opDictGetMany:    {do: (*request).dictGetMany, args: variable},
	opDictSetMany:    {do: (*request).dictSetMany, args: variable},
	opDictDeleteMany: {do: (*request).dictDeleteMany, args: variable},
	opDictPage:       {do: (*request).dictPage, args: 2},
	opDictSnapshot:   {do: (*request).dictSnapshot, args: 1},
	opDictLease:      {do: (*request).dictLease, args: 2},
	opDictCommit:     {do: (*request).dictCommit, args: 2},
	opDictHas:        {do: (*request).dictHas, args: 2},
	opDictGetOrSet:   {do: (*request).dictGetOrSet, args: 3},
	opDictSwap:       {do: (*request).dictSwap, args: 3},
	opDictPop:        {do: (*request).dictPop, args: 2},
	opDictPopNewest:  {do: (*request).dictPopNewest, args: 1},
	opDictClear:      {do: (*request).dictClear, args: 1},
	opDictKeys:       {do: (*request).dictKeys, args: 2},
	opDictMerge:      {do: (*request).dictMerge, args: 2},
	opDictSetFor:     {do: (*request).dictSetFor, args: 4},
	opDictExpire:     {do: (*request).dictExpire, args: 3},
	opDictTTL:        {do: (*request).dictTTL, args: 2},

	// List.
	opListLen:      {do: (*request).listLen, args: 1},
	opListGet:      {do: (*request).listGet, args: 2},
	opListSet:      {do: (*request).listSet, args: 3},
	opListAppend:   {do: (*request).listAppend, args: variable},
	opListInsert:   {do: (*request).listInsert, args: 3},
	opListPop:      {do: (*request).listPop, args: 2},
	opListSnapshot: {do: (*request).listSnapshot, args: 1},
	opListSlice:    {do: (*request).listSlice, args: 3},
	opListSplice:   {do: (*request).listSplice, args: variable},
	opListFind:     {do: (*request).listFind, args: 4},
	opListCount:    {do: (*request).listCount, args: 2},
	opListRemove:   {do: (*request).listRemove, args: 2},
	opListClear:    {do: (*request).listClear, args: 1},
	opListReverse:  {do: (*request).listReverse, args: 1},
	opListSort:     {do: (*request).listSort, args: 2},
	opListExtend:   {do: (*request).listExtend, args: 2},
	opListVersion:  {do: (*request).listVersion, args: 1},
	opListReplace:  {do: (*request).listReplace, args: variable},

	// Set.
	opSetLen:       {do: (*request).setLen, args: 1},
	opSetAdd:       {do: (*request).setAdd, args: variable},
	opSetRemove:    {do: (*request).setRemove, args: variable},
	opSetContains:  {do: (*request).setContains, args: variable},
	opSetPopNewest: {do: (*request).setPopNewest, args: 1},
	opSetClear:     {do: (*request).setClear, args: 1},
	opSetPage:      {do: (*request).setPage, args: 2},
	opSetSnapshot:  {do: (*request).setSnapshot, args: 1},
	opSetCombine:   {do: (*request).setCombine, args: variable},
	opSetCombined:  {do: (*request).setCombined, args: variable},
	opSetRelates:   {do: (*request).setRelates, args: 3},

	// Queue.
	opQueueLen:         {do: (*request).queueLen, args: 1},
	opQueueCap:         {do: (*request).queueCap, args: 1},
	opQueuePut:         {do: (*request).queuePut, args: 2},
	opQueuePutMany:     {do: (*request).queuePutMany, args: variable},
	opQueueGet:         {do: (*request).queueGet, args: 2},
	opQueueTryGet:      {do: (*request).queueTryGet, args: 2},
	opQueueLease:       {do: (*request).queueLease, args: 1},
	opQueueTryLease:    {do: (*request).queueTryLease, args: 1},
	opQueueAck:         {do: (*request).queueAck, args: 2},
	opQueueNack:        {do: (*request).queueNack, args: 2},
	opQueueTaskDone:    {do: (*request).queueTaskDone, args: 1},
	opQueueJoin:        {do: (*request).queueJoin, args: 1},
	opQueueRecover:     {do: (*request).queueRecover, args: 1},
	opQueueDrop:        {do: (*request).queueDrop, args: 1},
	opQueueDeadLetters: {do: (*request).queueDeadLetters, args: 1},
	opQueueShutdown:    {do: (*request).queueShutdown, args: 1},

	// Mutex and RMutex.
	opMutexLock:    {do: (*request).mutexLock, args: 2},
	opMutexTryLock: {do: (*request).mutexTryLock, args: 1},
	opMutexUnlock:  {do: (*request).mutexUnlock, args: 3},
	opMutexMend:    {do: (*request).mutexMend, args: 2},
	opMutexState:   {do: (*request).mutexState, args: 1},
	opMutexForce:   {do: (*request).mutexForce, args: 1},

	// Semaphore.
	opSemaphoreAcquire:    {do: (*request).semaphoreAcquire, args: 1},
	opSemaphoreTryAcquire: {do: (*request).semaphoreTryAcquire, args: 1},
	opSemaphoreRelease:    {do: (*request).semaphoreRelease, args: 2},
	opSemaphoreValue:      {do: (*request).semaphoreValue, args: 1},

	// Cond.
	opCondWait:   {do: (*request).condWait, args: 2},
	opCondNotify: {do: (*request).condNotify, args: 2},
	opCondMutex:  {do: (*request).condMutex, args: 1},

	// Event.
	opEventSet:   {do: (*request).eventSet, args: 1},
	opEventClear: {do: (*request).eventClear, args: 1},
	opEventIsSet: {do: (*request).eventIsSet, args: 1},
	opEventWait:  {do: (*request).eventWait, args: 1},

	// Barrier.
	opBarrierWait:  {do: (*request).barrierWait, args: 1},
	opBarrierAbort: {do: (*request).barrierAbort, args: 1},
	opBarrierReset: {do: (*request).barrierReset, args: 1},
	opBarrierState: {do: (*request).barrierState, args: 1},

	// Namespace.
	opNamespaceLen:      {do: (*request).dictLen, args: 1},
	opNamespaceGet:      {do: (*request).dictGet, args: 2},
	opNamespaceSet:      {do: (*request).dictSet, args: 3},
	opNamespaceDelete:   {do: (*request).dictDelete, args: 2},
	opNamespacePage:     {do: (*request).dictPage, args: 2},
	opNamespaceSnapshot: {do: (*request).dictSnapshot, args: 1},
	opNamespaceLease:    {do: (*request).dictLease, args: 2},
	opNamespaceHas:      {do: (*request).dictHas, args: 2},
	opNamespaceGetOrSet: {do: (*request).dictGetOrSet, args: 3},
	opNamespaceSwap:     {do: (*request).dictSwap, args: 3},
	opNamespacePop:      {do: (*request).dictPop, args: 2},
	opNamespaceClear:    {do: (*request).dictClear, args: 1},
	opNamespaceKeys:     {do: (*request).dictKeys, args: 2},

	// Value.
	opValueGet:      {do: (*request).dictGet, args: 1},
	opValueSet:      {do: (*request).dictSet, args: 2},
	opValueSwap:     {do: (*request).dictSwap, args: 2},
	opValueGetOrSet: {do: (*request).dictGetOrSet, args: 2},
	opValueLease:    {do: (*request).dictLease, args: 1},

	// Array.
	opArrayLen:      {do: (*request).listLen, args: 1},
	opArrayGet:      {do: (*request).listGet, args: 2},
	opArraySet:      {do: (*request).listSet, args: 3},
	opArraySnapshot: {do: (*request).listSnapshot, args: 1},
	opArraySlice:    {do: (*request).listSlice, args: 3},
	opArraySplice:   {do: (*request).listSplice, args: variable},
	opArrayFind:     {do: (*request).listFind, args: 4},
	opArrayCount:    {do: (*request).listCount, args: 2},
	opArrayReverse:  {do: (*request).listReverse, args: 1},
	opArraySort:     {do: (*request).listSort, args: 2},
	opArrayVersion:  {do: (*request).listVersion, args: 1},
	opArrayReplace:  {do: (*request).listReplace, args: variable},
	opArrayFill:     {do: (*request).arrayFill, args: 2},

	// Own types.
	opOwnCall: {do: (*request).ownCall, args: 3},
}
