/** What kubectl and the shells run at a Tab. All of them ask `kubectl-shadow __complete`. */

/** The file kubectl looks for on the PATH: KEP-2379, "Shell Completion Support". */
export const KUBECTL_FILE = process.platform === 'win32' ? 'kubectl_complete-shadow.cmd' : 'kubectl_complete-shadow';

export const KUBECTL_SCRIPT =
  process.platform === 'win32'
    ? '@kubectl-shadow.exe __complete %*\r\n'
    : `#!/bin/sh
# kubectl asks this what can follow on a line \`kubectl shadow …\`. Written by: kubectl shadow completion kubectl
exec kubectl-shadow __complete "$@"
`;

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** For bash 3.2 (macOS) too: no mapfile, no negative index. */
const BASH = `# bash completion of kubectl-shadow. For a line \`kubectl shadow …\`: kubectl shadow completion kubectl
_kubectl_shadow() {
  local line directive=4 words
  read -ra words <<<"\${COMP_LINE:0:COMP_POINT}"
  [[ \${COMP_LINE:COMP_POINT-1:1} == [[:space:]] ]] && words+=('')
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :*) directive=\${line#:} ;;
      *) COMPREPLY+=("\${line%%$'\\t'*}") ;;
    esac
  done < <("\${words[0]}" __complete "\${words[@]:1}" 2>/dev/null)
  case $directive in
    0) compopt -o default 2>/dev/null ;;
    16) compopt -o dirnames 2>/dev/null ;;
  esac
}
complete -F _kubectl_shadow kubectl-shadow`;

const ZSH = `#compdef kubectl-shadow
# zsh completion of kubectl-shadow. For a line \`kubectl shadow …\`: kubectl shadow completion kubectl
_kubectl_shadow() {
  local line directive=4
  local -a found
  while IFS= read -r line; do
    case $line in
      :*) directive=\${line#:} ;;
      *) found+=("\${\${line%%$'\\t'*}//:/\\\\:}\${\${(M)line%%$'\\t'*}:+:\${line#*$'\\t'}}") ;;
    esac
  done < <("\${words[1]}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)
  case $directive in
    0) _files ;;
    16) _files -/ ;;
    *) [[ $words[CURRENT] == -*=* ]] && compset -P '*='; _describe -V completions found ;;
  esac
}
compdef _kubectl_shadow kubectl-shadow`;

const FISH = `# fish completion of kubectl-shadow. For a line \`kubectl shadow …\`: kubectl shadow completion kubectl
function __kubectl_shadow
  set -l words (commandline -opc) (commandline -ct)
  set -l found ($words[1] __complete $words[2..-1] 2>/dev/null)
  set -l typed (string match -r -- '^-.*=' (commandline -ct))
  switch "$found[-1]"
    case ':0'
      __fish_complete_path (commandline -ct)
    case ':16'
      __fish_complete_directories (commandline -ct)
    case '*'
      for line in $found
        string match -q ':*' -- $line; or echo "$typed$line"
      end
  end
end
complete -c kubectl-shadow -f -a '(__kubectl_shadow)'`;

export const SCRIPT: Readonly<Record<Shell, string>> = { bash: BASH, zsh: ZSH, fish: FISH };
