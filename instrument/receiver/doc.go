// Package receiver turns foreign bytes into telemetry events: what programs send
// over the telemetry socket, and what known orchestrators write into logs of
// their own.
//
// Caveats first. A receiver does not know what becomes of an event: it is given
// a function that records one, and nothing else. What that function returns is
// not looked at, because a fault of the record is told by the record itself. A
// log was written for people: what an adapter makes of it is only as true as the
// log is, and each adapter says what it infers. The text that models and tools
// produced is never taken over, only its length; that of an error is, cut.
//
// Logs are followed in two ways. FollowToolCalls follows files at known paths, in
// whichever format their lines are. FollowBurr follows a tree of directories, one
// log for each application, and takes the lines of all in the order of their
// times, because they tell of each other.
package receiver
