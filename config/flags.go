package config

// Flags are the settings of the command line, to be embedded into kong's grammar, with FlagHelp as its Vars. A nil
// field was not given. Values stay text until Load parses them, so that it reports all problems together. Kong must not
// read the environment (no env tag): Load does, to name the right place in an error. The variable of a flag is its name
// in capitals after SITESYNC_, with _ for -.
type Flags struct {
	Presets        *string  `group:"Studio" placeholder:"DIR" help:"${presets}"`
	RetryCnt       *string  `group:"Studio" placeholder:"N" help:"${retry_cnt}"`
	LoopDelay      *string  `group:"Studio" placeholder:"TIME" help:"${loop_delay}"`
	ActiveSite     *string  `group:"Studio" placeholder:"SITE" help:"${active_site}"`
	RemoteSite     *string  `group:"Studio" placeholder:"SITE" help:"${remote_site}"`
	Direction      *string  `group:"Studio" placeholder:"WAY" help:"${direction}"`
	LocalID        *string  `group:"Studio" placeholder:"ID" help:"${local_id}"`
	LocalRoot      []string `group:"Studio" sep:"none" placeholder:"[NAME=]PATH" help:"${local_root}"`
	LocalRootLinks []string `group:"Studio" sep:"none" placeholder:"PATH" help:"${local_root_links}"`

	AlwaysAccessibleOn []string `group:"Studio" sep:"none" placeholder:"SITE" help:"${always_accessible_on}"`

	Mongo     *string `group:"Database" placeholder:"URI" help:"${mongo}"`
	MongoFile *string `group:"Database" placeholder:"FILE" help:"${mongo_file}"`
	DB        *string `group:"Database" placeholder:"NAME" help:"${db}"`
	StateDB   *string `group:"Database" placeholder:"NAME" help:"${state_db}"`
	NoIndex   *bool   `group:"Database" help:"${no_index}"`

	Transfers         *string `group:"Transfer" placeholder:"N" help:"${transfers}"`
	SourceGracePeriod *string `group:"Transfer" name:"settle" placeholder:"TIME" help:"${settle}"`
	RetryDelay        *string `group:"Transfer" placeholder:"TIME" help:"${retry_delay}"`
	MaxRetryDelay     *string `group:"Transfer" placeholder:"TIME" help:"${max_retry_delay}"`
	NoStream          *bool   `group:"Transfer" help:"${no_stream}"`
	NoPoll            *bool   `group:"Transfer" help:"${no_poll}"`
	RecordProgress    *bool   `group:"Transfer" help:"${record_progress}"`
	ShutdownTimeout   *string `group:"Transfer" placeholder:"TIME" help:"${shutdown_timeout}"`

	Listen       *string `group:"Output" placeholder:"HOST:PORT" help:"${listen}"`
	WebTokenFile *string `group:"Output" placeholder:"FILE" help:"${web_token_file}"`
	Pprof        *bool   `group:"Output" help:"${pprof}"`
	LogFormat    *string `group:"Output" placeholder:"FORMAT" help:"${log_format}"`
	LogLevel     *string `group:"Output" placeholder:"LEVEL" help:"${log_level}"`
}

// FlagHelp are the help texts of Flags, by the variables in their tags.
var FlagHelp = map[string]string{
	"presets": "Folder of config.json and gdrive.json, or of a sync_server folder with both; default " +
		"$PYPE_CONFIG/presets. ($SITESYNC_PRESETS)",
	"retry_cnt": "How often a failing file is tried; overrides retry_cnt of config.json, default 3. " +
		"($SITESYNC_RETRY_CNT)",
	"loop_delay": "Time between two fallback polls, seconds or e.g. 2m; overrides loop_delay of config.json, default " +
		"60. ($SITESYNC_LOOP_DELAY)",
	"active_site": "Site of the storage that this machine has; overrides active_site of config.json, default studio. " +
		"($SITESYNC_ACTIVE_SITE)",
	"remote_site": "Site of gdrive.json that the active site is synced with; overrides remote_site of config.json. " +
		"If empty, nothing is synced. ($SITESYNC_REMOTE_SITE)",
	"direction": "up (from the active to the remote site), down (from the remote to the active site) or both, the " +
		"default. Nothing goes down without a local root. ($SITESYNC_DIRECTION)",
	"local_id": "Name of this machine's own site: what 'local' stands for as active or remote site; overrides " +
		"local_id of config.json. ($SITESYNC_LOCAL_ID)",
	"local_root": "Folder of the active site's storage on this machine, instead of the root in the documents; " +
		"overrides local_root of config.json. Repeat it with names for several roots. ($SITESYNC_LOCAL_ROOT, " +
		"several separated by ;)",
	"local_root_links": "Folder outside of the roots that symbolic links in the storage may lead to, such as a " +
		"project on another mount; overrides local_root_links of config.json. Repeat it for several. " +
		"($SITESYNC_LOCAL_ROOT_LINKS, several separated by ;)",
	"always_accessible_on": "Site that every published file gets a record of, if it has none, so that it is brought " +
		"there; overrides always_accessible_on of config.json. Repeat it for several. " +
		"($SITESYNC_ALWAYS_ACCESSIBLE_ON, several separated by ;)",
	"mongo": "MongoDB connection string. Prefer the environment, which ps does not show. ($SITESYNC_MONGO, " +
		"$AVALON_MONGO)",
	"mongo_file": "File with the connection string, such as a secret of a container. ($SITESYNC_MONGO_FILE)",
	"db":         "Database of the projects, default avalon. ($SITESYNC_DB, $AVALON_DB)",
	"state_db":   "Sitesync's own database, default sitesync. ($SITESYNC_STATE_DB)",
	"no_index":   "Do not create the index of the pending query at start. ($SITESYNC_NO_INDEX)",
	"transfers": "Files transferred at once, up and down together, 1 to 256, default 8; one more each way for a " +
		"small file that was just published. " +
		"($SITESYNC_TRANSFERS)",
	"settle": "How long a source file may be missing or incomplete before that costs a try, default loop_delay. " +
		"($SITESYNC_SETTLE)",
	"retry_delay": "Wait before a failed file's second try; doubles with each try; default 10s. " +
		"($SITESYNC_RETRY_DELAY)",
	"max_retry_delay": "Longest wait between two tries, default 1h. ($SITESYNC_MAX_RETRY_DELAY)",
	"no_stream":       "Do not use change streams, only the poll. For tests and debugging. ($SITESYNC_NO_STREAM)",
	"no_poll":         "Do not poll, only use change streams. For tests and debugging. ($SITESYNC_NO_POLL)",
	"record_progress": "Write the progress of large files into their records, every 5 s, as OpenPype does. " +
		"($SITESYNC_RECORD_PROGRESS)",
	"shutdown_timeout": "How long running transfers may continue after a signal to stop, default 10s. " +
		"($SITESYNC_SHUTDOWN_TIMEOUT)",
	"listen": "Address of the page, health and metrics, default 127.0.0.1:9105; off: none. ($SITESYNC_LISTEN)",
	"web_token_file": "File with a secret of 16 characters or more that allows retry, pause and resume from the " +
		"page. Without one the page is read-only. ($SITESYNC_WEB_TOKEN_FILE, or $SITESYNC_WEB_TOKEN for the secret " +
		"itself)",
	"pprof": "Serve profiles for go tool pprof there too, under /debug/pprof/. ($SITESYNC_PPROF)",
	"log_format": "auto, console or json; auto (the default) is console on a terminal, json otherwise. " +
		"($SITESYNC_LOG_FORMAT)",
	"log_level": "debug, info, warn or error, default info. ($SITESYNC_LOG_LEVEL)",
}
