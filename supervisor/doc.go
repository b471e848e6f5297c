// Package supervisor is the process plane of obsrun: it runs one command under
// a pseudo-terminal so that the command, its user and the shell above notice
// no difference, and it keeps working when any of them misbehaves.
//
// What it is not, first:
//
//   - Terminal bytes never become events here, and no event touches the
//     terminal. Only the watchdog ([Watch]) and the recorder of processes
//     ([FollowProcesses]) know of telemetry.
//   - It prints nothing. While the command owns the terminal, a word from
//     obsrun would land in the middle of somebody's screen; everything that
//     goes wrong is returned as an error or stands in [Exit].
//   - It restores a terminal, not a screen: a full-screen program that is
//     killed leaves its drawing behind, as it does without obsrun.
//   - Go tells a program only whether HUP and INT were ignored when it was
//     started. Other signals that were ignored then (TERM under a careless
//     parent, say) reach the command with their default action. QUIT counts as
//     ignored where INT is, because shells ignore both together for a command
//     they start with &. On Linux the stop signals are known, too.
//   - Keys that are typed ahead while COMMAND runs are COMMAND's: what it has not
//     read when it ends is gone, and not the shell's.
//   - COMMAND can open /dev/tty also where nobody has a keyboard, in CI say. A
//     program that asks a question there waits until it is ended; NoPTY lets it fail.
//   - Without a pseudo-terminal (NoPTY) an interrupt key goes from the kernel
//     straight to the command. Whether the run was interrupted is then known
//     only if the command dies of it.
//
// # Processes
//
// obsrun starts itself again as the monitor, and the monitor starts COMMAND:
//
//	shell's session:    shell -- obsrun
//	new session, PTY:            monitor (leader) -- COMMAND (own process group)
//
// The monitor exists for four reasons. COMMAND is not the session leader, so
// its group is not orphaned and it can be stopped from the keyboard. Its exit
// does not end the session, so what a background child still has to say is
// read. The monitor alone waits for COMMAND, so a signal never reaches a
// recycled process id. And when obsrun dies without a word, the monitor sees
// its control socket close, puts the terminal in order and hangs up.
//
// # Who owns the terminal
//
// Keys flow, the terminal is raw and COMMAND's group is in the foreground of its
// pseudo-terminal only while obsrun itself is in the foreground of the real
// one, or where there is no real one. In all other cases COMMAND's group is a
// background group on its pseudo-terminal: reading then stops it with SIGTTIN, the
// monitor reports the stop, and obsrun either takes the terminal or stops in turn,
// which is what the shell above would have seen without obsrun. Where stdin is no
// terminal, or stdout is a pipe, obsrun waits for exactly that stop before it takes
// the terminal, because the keys may be meant for another program of the pipeline.
package supervisor
