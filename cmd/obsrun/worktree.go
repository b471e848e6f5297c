package main

import (
	"context"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"time"
)

// shortCommit is how many digits of a commit are kept, as git shows in small
// repositories.
const shortCommit = 7

// maxRepositoryFile is the most that is read of one file, in bytes: packed-refs has a
// line for each branch and tag.
const maxRepositoryFile = 32 << 20

// workTree finds what the git work tree around dir is, empty where there is none.
// The repository's own files tell it in no time; git is asked, at the cost of several
// processes, only where these have something in them that is not read here.
func workTree(ctx context.Context, dir string, env []string) (repo, commit string) {
	for _, entry := range env {
		// GIT_DIR and its like lead elsewhere, GIT_CONFIG_* say something else.
		for _, prefix := range []string{"GIT_DIR=", "GIT_WORK_TREE=", "GIT_COMMON_DIR=", "GIT_CEILING_DIRECTORIES=", "GIT_CONFIG"} {
			if strings.HasPrefix(entry, prefix) {
				return askGit(ctx, dir)
			}
		}
	}
	for top := dir; ; top = filepath.Dir(top) {
		if _, err := os.Lstat(filepath.Join(top, ".git")); err == nil {
			if repo, commit, ok := readRepository(top); ok {
				return repo, commit
			}
			return askGit(ctx, dir)
		}
		if top == filepath.Dir(top) {
			return "", ""
		}
	}
}

// readRepository reads what is checked out in the work tree at top, and where it came
// from. It reports false where git has to be asked.
func readRepository(top string) (repo, commit string, ok bool) {
	own := filepath.Join(top, ".git") // what belongs to this work tree
	if b, err := readSmall(own); err == nil {
		path, found := strings.CutPrefix(string(b), "gitdir: ")
		if !found {
			return "", "", false
		}
		own = within(top, strings.TrimRight(path, "\n"))
	}
	common := own // what all work trees share
	if b, err := readSmall(filepath.Join(own, "commondir")); err == nil {
		common = within(own, strings.TrimRight(string(b), "\n"))
	}
	config, err := readSmall(filepath.Join(common, "config"))
	if err != nil {
		return "", "", false
	}
	repo, ok = originOf(string(config))
	if !ok {
		return "", "", false
	}
	commit, ok = commitOf(own, common)
	switch {
	case !ok:
		return "", "", false
	case commit == "":
		return "", "", true // there is none yet
	case repo == "":
		repo = top
	}
	return cutUserInfo(repo), commit[:shortCommit], true
}

// originOf gives the URL of the remote "origin" as a repository's configuration has
// it, empty if there is none. It reports false where that may stand elsewhere, or be
// written in a way that is not read here.
func originOf(config string) (url string, ok bool) {
	section := ""
	for line := range strings.Lines(config) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
			name := strings.ToLower(line)
			if strings.HasPrefix(name, "[include") || strings.HasPrefix(name, "[extensions") {
				return "", false
			}
			continue
		}
		if section != `[remote "origin"]` {
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		if strings.EqualFold(strings.TrimSpace(key), "url") {
			if url = strings.TrimSpace(value); strings.ContainsAny(url, "\"\\;#") {
				return "", false
			}
		}
	}
	return url, true
}

// commitOf gives the commit that is checked out, empty if there is none yet.
func commitOf(own, common string) (commit string, ok bool) {
	b, err := readSmall(filepath.Join(own, "HEAD"))
	if err != nil {
		return "", false
	}
	head := strings.TrimSpace(string(b))
	ref, symbolic := strings.CutPrefix(head, "ref: ")
	if !symbolic {
		return head, isCommit(head)
	}
	if !filepath.IsLocal(ref) || !strings.HasPrefix(ref, "refs/heads/") {
		return "", false
	}
	if b, err := readSmall(filepath.Join(common, filepath.FromSlash(ref))); err == nil {
		commit = strings.TrimSpace(string(b))
		return commit, isCommit(commit)
	}
	packed, err := readSmall(filepath.Join(common, "packed-refs"))
	if err != nil {
		return "", os.IsNotExist(err)
	}
	for line := range strings.Lines(string(packed)) {
		if commit, name, _ := strings.Cut(strings.TrimSpace(line), " "); name == ref {
			return commit, isCommit(commit)
		}
	}
	return "", true
}

// isCommit tells whether text is a whole object id, of SHA-1 or SHA-256.
func isCommit(text string) bool {
	return (len(text) == 40 || len(text) == 64) && strings.Trim(text, "0123456789abcdef") == ""
}

// readSmall reads a file of a checkout, which somebody else may have made: nothing that
// is no file, and none of a size that no repository needs.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxRepositoryFile {
		return nil, &os.PathError{Op: "read", Path: path, Err: os.ErrInvalid}
	}
	return os.ReadFile(path)
}

func within(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// askGit is workTree where only git knows, empty also where git is slow.
func askGit(ctx context.Context, dir string) (repo, commit string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	git := func(args ...string) string {
		cmd := osexec.CommandContext(ctx, "git", args...)
		cmd.Dir = dir
		cmd.WaitDelay = 100 * time.Millisecond // for what it leaves running
		out, err := cmd.Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	if commit = git("rev-parse", "--verify", "HEAD"); len(commit) < shortCommit {
		return "", ""
	}
	if repo = cutUserInfo(git("config", "--get", "remote.origin.url")); repo == "" {
		repo = git("rev-parse", "--show-toplevel")
	}
	return repo, commit[:shortCommit]
}
