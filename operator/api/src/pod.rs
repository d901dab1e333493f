//! The pod's agreed parts: what the operator writes into a pod and Varve's programs in it rely on.

/// The init container that lays out the shared volume and copies the shim.
pub const INSTALL: &str = "install";
/// The container that runs the user's unmodified image.
pub const USER: &str = "user";
/// The container that fetches inputs, collects outputs and records results.
pub const KEEPER: &str = "keeper";
/// The container of an import pod.
pub const IMPORT: &str = "import";

/// The shared volume, an emptyDir.
pub const VOLUME: &str = "varve";
/// The volume of the store's Secret.
pub const STORE_VOLUME: &str = "varve-store";
/// The keeper's own temporary directory, an emptyDir.
pub const TMP_VOLUME: &str = "varve-tmp";

/// Where `install` and `keeper` see the shared volume.
pub const VOLUME_PATH: &str = "/var/lib/varve";
/// The folder of the shared volume with the shim and the socket; 0755.
pub const CTL: &str = "ctl";
/// The folder of the shared volume where the next datum's inputs are staged; 0700.
pub const STAGE: &str = "stage";
/// The folder of the shared volume where finished outputs wait to be uploaded; 0700.
pub const DONE: &str = "done";
/// The folder of the shared volume that the user's container sees at [`PFS_PATH`]; 0755.
pub const PFS: &str = "pfs";
/// The folder in [`PFS`] that the user's code writes to; 0777.
pub const OUT: &str = "out";

/// Where the user's container sees the inputs and `out`.
pub const PFS_PATH: &str = "/pfs";
/// Where the user's container sees [`CTL`], read-only.
pub const CTL_PATH: &str = "/.varve";
/// Files of `/etc` by which names are found. All containers of a pod share them, and root may write them: where the code is
/// root, the keeper has copies, which lie in [`CTL`].
pub const NAME_FILES: [&str; 2] = ["hosts", "resolv.conf"];
/// The shim's file name, in our image's root and in [`CTL`].
pub const SHIM: &str = "varve-shim";
/// The user container's command.
pub const SHIM_COMMAND: &str = "/.varve/varve-shim";
/// The socket's file name in [`CTL`].
pub const SOCKET: &str = "keeper.sock";
/// Our program in our image.
pub const VARVE_COMMAND: &str = "/varve";
/// Where the store's Secret is mounted as files.
pub const STORE_PATH: &str = "/var/run/varve/store";
/// Where an import pod has its Secrets: one folder for each, by its name.
pub const IMPORT_PATH: &str = "/var/run/varve/import";

/// The variable that holds the plan's hash.
pub const ENV_PLAN: &str = "VARVE_PLAN";
/// The variable that holds the uid of the Job object.
pub const ENV_JOB_UID: &str = "VARVE_JOB_UID";
/// The variable that holds the namespace.
pub const ENV_NAMESPACE: &str = "VARVE_NAMESPACE";
/// The variable that holds the pod's uid.
pub const ENV_POD_UID: &str = "VARVE_POD_UID";
/// The variable that holds the node's name.
pub const ENV_NODE: &str = "VARVE_NODE";
/// The variable by which the keeper knows that Kubernetes starts the user's container again in its pod where it was
/// killed. `true` or absent.
pub const ENV_RESTARTS_IN_PLACE: &str = "VARVE_RESTARTS_IN_PLACE";
/// The variable in which Kubernetes gives the shard's index.
pub const ENV_INDEX: &str = "JOB_COMPLETION_INDEX";
/// The variable that holds the hash of the list of what an import pod fetches. The list itself lies in the store: it
/// may be longer than a variable may, and Kubernetes would expand each `$(NAME)` in it.
pub const ENV_IMPORT: &str = "VARVE_IMPORT";

/// The variable by which whoever installs the operator allows stores on the machine's disk; the operator hands it on to
/// its pods. `true` or absent.
pub const ENV_ALLOW_LOCAL_STORES: &str = "VARVE_ALLOW_LOCAL_STORES";
/// The variable by which whoever installs the operator lends the machine's credentials to stores whose Secret holds
/// none; the operator hands it on to its pods. `true` or absent.
pub const ENV_ALLOW_MACHINE_CREDENTIALS: &str = "VARVE_ALLOW_MACHINE_CREDENTIALS";

/// The user and group that Varve's own containers, and by default the user's, run as.
pub const RUN_AS: i64 = 65_532;
/// On a namespace: OpenShift gives its pods users of a range of its own, so none is set.
pub const OPENSHIFT_UID_RANGE: &str = "openshift.io/sa.scc.uid-range";

/// On a pod of EKS: the containers, with commas between them, that get no token of the pod's cloud identity.
pub const EKS_SKIP_CONTAINERS: &str = "eks.amazonaws.com/skip-containers";
/// On a pod of Azure: the same, with semicolons between them.
pub const AZURE_SKIP_CONTAINERS: &str = "azure.workload.identity/skip-containers";
