package receiver

import (
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// FollowToolCalls follows the tool_calls.jsonl of an orchestrator at the paths
// where it may appear. zone is the local time of the host, in which the log's
// timestamps are. It is to be called before the orchestrator starts: what stands
// in a file by then is left out.
func FollowToolCalls(record func(telemetry.Event) error, zone *time.Location, paths ...string) *Tail {
	return follow(record, []format{
		{claims: isGraphLine, adapt: func() adapter { return newGraphLog(zone) }},
		{claims: isSDKLine, adapt: func() adapter { return newSDKLog(zone) }},
	}, paths)
}
