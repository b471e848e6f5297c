//go:build !race

package supervisor

// raceDetector says that programs start slowly here.
const raceDetector = false
