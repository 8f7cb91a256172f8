# Completion of sitesync for fish: sitesync completion fish > ~/.config/fish/completions/sitesync.fish
function __sitesync_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] complete -- $words[2..-1] 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path (commandline -ct)
        else
            printf '%s\n' $line
        end
    end
end
complete -c sitesync -f -a '(__sitesync_complete)'
