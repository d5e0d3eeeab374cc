# Sourced by scripts/demo and scripts/test, in the repository's root: makes node_modules what package-lock.json says, and puts
# the repository's own Node first on PATH. Says what it does on standard error.

fail() {
  echo "$*" >&2
  exit 1
}

# Whether every package of the lock file is installed in its version.
modules_current() {
  [ -f node_modules/.package-lock.json ] && node -e '
    const { readFileSync } = require("node:fs");
    const packages = (file) => JSON.parse(readFileSync(file, "utf8")).packages;
    const installed = packages("node_modules/.package-lock.json");
    for (const [path, wanted] of Object.entries(packages("package-lock.json")))
      if (path && !wanted.optional && installed[path]?.version !== wanted.version) process.exit(1);
  '
}

ensure_modules() {
  command -v node >/dev/null && command -v npm >/dev/null || fail 'SHADOW_E_HOST: Node.js 20 or later with npm is needed to begin with: install it'
  if ! modules_current; then
    echo 'Installing the packages of package-lock.json …' >&2
    npm ci --no-audit --no-fund >&2
  fi
  PATH="$PWD/node_modules/.bin:$PATH"
  export PATH
}

ensure_root() {
  [ "$(id -u)" = 0 ] || fail 'SHADOW_E_ROOT: the playground needs root: run it with sudo'
}
