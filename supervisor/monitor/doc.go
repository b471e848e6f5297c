// Package monitor is the process between obsrun and COMMAND: obsrun, started again
// under the name [Name], leads COMMAND's session, waits for COMMAND and nobody else,
// and puts the terminal in order should obsrun die without. What it is for is told in
// package supervisor.
//
// Caveats first. It is no library: a program that imports it becomes the monitor while
// its packages are initialised, if it was started as one, and ends there. That is what
// makes it quick. The language initialises a package as soon as those that it imports
// are, in the order of import paths; this one imports next to nothing, and by its path
// it comes before nearly all others. So nothing here may import what is slow to start
// or depends on package unicode or reflect, as fmt, strings and bytes do.
package monitor
