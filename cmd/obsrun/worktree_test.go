package main

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// repository is a git repository that a test made.
type repository struct {
	t   *testing.T
	dir string
}

func newRepository(t *testing.T, args ...string) repository {
	r := repository{t, filepath.Join(t.TempDir(), "work tree")}
	r.git(append(append([]string{"init", "-q", "-b", "main"}, args...), r.dir)...)
	return r
}

// git runs git and gives what it says.
func (r repository) git(args ...string) string {
	r.t.Helper()
	cmd := osexec.Command("git", append([]string{"-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"}, args...)...)
	if _, err := os.Stat(r.dir); err == nil {
		cmd.Dir = r.dir
	}
	out, err := cmd.CombinedOutput()
	require.NoError(r.t, err, "%s", out)
	return strings.TrimSpace(string(out))
}

func (r repository) commit() { r.git("commit", "-q", "--allow-empty", "-m", "change") }

// What is read of a repository is what git says of it.
func TestWorkTree(t *testing.T) {
	for name, prepare := range map[string]func(r *repository){
		"a branch":  func(*repository) {},
		"no branch": func(r *repository) { r.git("checkout", "-q", "--detach") },
		"packed":    func(r *repository) { r.git("checkout", "-q", "-b", "a/b"); r.git("pack-refs", "--all", "--prune") },
		"a remote":  func(r *repository) { r.git("remote", "add", "origin", "https://example.com/r.git") },
		"two remotes": func(r *repository) {
			r.git("remote", "add", "other", "https://example.com/o")
			r.git("remote", "add", "origin", "git@example.com:r.git")
		},
		"user info": func(r *repository) { r.git("remote", "add", "origin", "https://me:secret@example.com/r") },
		"below": func(r *repository) {
			r.dir = filepath.Join(r.dir, "a", "b")
			require.NoError(r.t, os.MkdirAll(r.dir, 0o755))
		},
		"an odd address": func(r *repository) { r.git("config", "remote.origin.url", `https://example.com/"a;b"#c\d`) },
		"an included one": func(r *repository) {
			r.git("config", "include.path", "more")
			require.NoError(r.t, os.WriteFile(filepath.Join(r.dir, ".git", "more"), []byte("[remote \"origin\"]\n\turl = https://example.com/i\n"), 0o600))
		},
		"a second work tree": func(r *repository) {
			second := filepath.Join(filepath.Dir(r.dir), "second")
			r.git("worktree", "add", "-q", "-b", "side", second)
			r.dir = second
			r.commit()
		},
		"a submodule": func(r *repository) {
			inner := newRepository(r.t)
			inner.commit()
			r.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", inner.dir, "inner")
			r.dir = filepath.Join(r.dir, "inner")
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)
			r.commit()
			prepare(&r)
			repo, commit := workTree(t.Context(), r.dir, nil)
			wantRepo, wantCommit := askGit(t.Context(), r.dir)
			require.NotEmpty(t, wantCommit)
			assert.Equal(t, wantCommit, commit)
			assert.Equal(t, wantRepo, repo)
			assert.NotContains(t, repo, "secret")
		})
	}
}

func TestNoWorkTree(t *testing.T) {
	dir := t.TempDir()
	repo, commit := workTree(t.Context(), dir, nil)
	assert.Empty(t, repo+commit)

	r := newRepository(t)
	repo, commit = workTree(t.Context(), r.dir, nil)
	assert.Empty(t, repo+commit, "there is no commit yet")
	r.commit()

	// Somebody else's files do not hold up the end of the run.
	for _, file := range []string{"config", "HEAD"} {
		path := filepath.Join(r.dir, ".git", file)
		require.NoError(t, os.Rename(path, path+".was"))
		require.NoError(t, syscall.Mkfifo(path, 0o600))
		_, _, ok := readRepository(r.dir)
		assert.False(t, ok)
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.Rename(path+".was", path))
	}
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, ".git", "HEAD"), []byte("ref: refs/heads/../../config\n"), 0o600))
	_, _, ok := readRepository(r.dir)
	assert.False(t, ok)
}
