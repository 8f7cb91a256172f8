#compdef sitesync
# Completion of sitesync for zsh: source <(sitesync completion zsh), after compinit
_sitesync() {
    local word help
    local -a found
    while IFS=$'\t' read -r word help; do
        if [[ $word == :files ]]; then
            _files
        else
            found+=("${word//:/\\:}${help:+:$help}")
        fi
    done < <("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( $#found )) && _describe sitesync found
}
compdef _sitesync sitesync
