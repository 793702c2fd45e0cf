import { defineSchema } from '../../grpc/index.ts';

const SIGNALS =
  'RUNTIME_DEFAULT SIGABRT SIGALRM SIGBUS SIGCHLD SIGCLD SIGCONT SIGFPE SIGHUP SIGILL SIGINT SIGIO SIGIOT SIGKILL SIGPIPE SIGPOLL SIGPROF SIGPWR SIGQUIT SIGSEGV SIGSTKFLT SIGSTOP SIGSYS SIGTERM SIGTRAP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ SIGRTMIN SIGRTMINPLUS1 SIGRTMINPLUS2 SIGRTMINPLUS3 SIGRTMINPLUS4 SIGRTMINPLUS5 SIGRTMINPLUS6 SIGRTMINPLUS7 SIGRTMINPLUS8 SIGRTMINPLUS9 SIGRTMINPLUS10 SIGRTMINPLUS11 SIGRTMINPLUS12 SIGRTMINPLUS13 SIGRTMINPLUS14 SIGRTMINPLUS15 SIGRTMAXMINUS14 SIGRTMAXMINUS13 SIGRTMAXMINUS12 SIGRTMAXMINUS11 SIGRTMAXMINUS10 SIGRTMAXMINUS9 SIGRTMAXMINUS8 SIGRTMAXMINUS7 SIGRTMAXMINUS6 SIGRTMAXMINUS5 SIGRTMAXMINUS4 SIGRTMAXMINUS3 SIGRTMAXMINUS2 SIGRTMAXMINUS1 SIGRTMAX';

/** The messages of CRI `runtime.v1` the agent speaks, with the fields it uses; numbers as in Kubernetes' cri-api. */
export const criSchema = defineSchema({
  enums: {
    Protocol: { names: ['TCP', 'UDP', 'SCTP'], fallback: 'TCP' },
    Propagation: {
      names: ['PROPAGATION_PRIVATE', 'PROPAGATION_HOST_TO_CONTAINER', 'PROPAGATION_BIDIRECTIONAL'],
      fallback: 'PROPAGATION_PRIVATE',
    },
    NamespaceMode: { names: ['POD', 'CONTAINER', 'NODE', 'TARGET'], fallback: 'POD' },
    GroupsPolicy: { names: ['Merge', 'Strict'], fallback: 'Merge' },
    ProfileType: { names: ['RuntimeDefault', 'Unconfined', 'Localhost'], fallback: 'RuntimeDefault' },
    SandboxState: { names: ['SANDBOX_READY', 'SANDBOX_NOTREADY'], fallback: 'SANDBOX_NOTREADY' },
    ContainerState: {
      names: ['CONTAINER_CREATED', 'CONTAINER_RUNNING', 'CONTAINER_EXITED', 'CONTAINER_UNKNOWN'],
      fallback: 'CONTAINER_UNKNOWN',
    },
    Signal: { names: SIGNALS.split(' '), fallback: 'RUNTIME_DEFAULT' },
    EventType: { names: ['created', 'started', 'exited', 'deleted'], fallback: 'changed' },
  },
  messages: {
    Empty: '',
    VersionRequest: 'version=1',
    VersionResponse: 'version=1 runtimeName=2 runtimeVersion=3 runtimeApiVersion=4',
    StatusRequest: 'verbose=1:bool',
    StatusResponse: 'status=1:RuntimeStatus! runtimeHandlers=3:RuntimeHandler[] features=4:RuntimeFeatures',
    RuntimeStatus: 'conditions=1:RuntimeCondition[]',
    RuntimeCondition: 'type=1 status=2:bool reason=3 message=4',
    RuntimeHandler: 'name=1 features=2:HandlerFeatures',
    HandlerFeatures: 'recursiveReadOnlyMounts=1:bool userNamespaces=2:bool',
    RuntimeFeatures: 'supplementalGroupsPolicy=1:bool',

    DnsConfig: 'servers=1:string[] searches=2:string[] options=3:string[]',
    PortMapping: 'protocol=1:Protocol containerPort=2:int32 hostPort=3:int32 hostIp=4',
    IdMapping: 'hostId=1:uint32 containerId=2:uint32 length=3:uint32',
    UserNamespace: 'mode=1:NamespaceMode uids=2:IdMapping[] gids=3:IdMapping[]',
    NamespaceOption:
      'network=1:NamespaceMode pid=2:NamespaceMode ipc=3:NamespaceMode targetId=4 usernsOptions=5:UserNamespace',
    Int64Value: 'value=1:int64',
    SecurityProfile: 'profileType=1:ProfileType localhostRef=2',
    SELinuxOption: 'user=1 role=2 type=3 level=4',
    SandboxSecurity:
      'namespaceOptions=1:NamespaceOption selinuxOptions=2:SELinuxOption runAsUser=3:Int64Value runAsGroup=8:Int64Value readonlyRootfs=4:bool supplementalGroups=5:int64[] supplementalGroupsPolicy=11:GroupsPolicy privileged=6:bool seccomp=9:SecurityProfile apparmor=10:SecurityProfile',
    LinuxSandboxConfig:
      'cgroupParent=1 securityContext=2:SandboxSecurity sysctls=3:map overhead=4:LinuxResources resources=5:LinuxResources',
    SandboxMetadata: 'name=1 uid=2 namespace=3 attempt=4:uint32',
    SandboxConfig:
      'metadata=1:SandboxMetadata hostname=2 logDirectory=3 dnsConfig=4:DnsConfig portMappings=5:PortMapping[] labels=6:map annotations=7:map linux=8:LinuxSandboxConfig',
    RunPodSandboxRequest: 'config=1:SandboxConfig runtimeHandler=2',
    SandboxId: 'podSandboxId=1',
    PodIP: 'ip=1',
    SandboxNetwork: 'ip=1 additionalIps=2:PodIP[]',
    SandboxNamespaces: 'options=2:NamespaceOption',
    LinuxSandboxStatus: 'namespaces=1:SandboxNamespaces',
    SandboxStatus:
      'id=1 metadata=2:SandboxMetadata! state=3:SandboxState createdAt=4:int64 network=5:SandboxNetwork linux=6:LinuxSandboxStatus labels=7:map annotations=8:map runtimeHandler=9',
    SandboxStatusResponse: 'status=1:SandboxStatus',
    SandboxFilter: 'id=1 labels=3:map',
    ListPodSandboxRequest: 'filter=1:SandboxFilter',
    Sandbox:
      'id=1 metadata=2:SandboxMetadata! state=3:SandboxState createdAt=4:int64 labels=5:map annotations=6:map runtimeHandler=7',
    ListPodSandboxResponse: 'items=1:Sandbox[]',

    ImageSpec: 'image=1 annotations=2:map userSpecifiedImage=18 runtimeHandler=19',
    KeyValue: 'key=1 value=2',
    HugepageLimit: 'pageSize=1 limit=2:uint64',
    LinuxResources:
      'cpuPeriod=1:int64 cpuQuota=2:int64 cpuShares=3:int64 memoryLimitInBytes=4:int64 oomScoreAdj=5:int64 cpusetCpus=6 cpusetMems=7 hugepageLimits=8:HugepageLimit[] unified=9:map memorySwapLimitInBytes=10:int64',
    Capability: 'addCapabilities=1:string[] dropCapabilities=2:string[] addAmbientCapabilities=3:string[]',
    ContainerSecurity:
      'capabilities=1:Capability privileged=2:bool namespaceOptions=3:NamespaceOption selinuxOptions=4:SELinuxOption runAsUser=5:Int64Value runAsGroup=12:Int64Value runAsUsername=6 readonlyRootfs=7:bool supplementalGroups=8:int64[] supplementalGroupsPolicy=17:GroupsPolicy noNewPrivs=11:bool maskedPaths=13:string[] readonlyPaths=14:string[] seccomp=15:SecurityProfile apparmor=16:SecurityProfile',
    LinuxContainerConfig: 'resources=1:LinuxResources securityContext=2:ContainerSecurity',
    Mount:
      'containerPath=1 hostPath=2 readonly=3:bool selinuxRelabel=4:bool propagation=5:Propagation uidMappings=6:IdMapping[] gidMappings=7:IdMapping[] recursiveReadOnly=8:bool image=9:ImageSpec imageSubPath=10',
    Device: 'containerPath=1 hostPath=2 permissions=3',
    ContainerMetadata: 'name=1 attempt=2:uint32',
    ContainerConfig:
      'metadata=1:ContainerMetadata image=2:ImageSpec command=3:string[] args=4:string[] workingDir=5 envs=6:KeyValue[] mounts=7:Mount[] devices=8:Device[] labels=9:map annotations=10:map logPath=11 stdin=12:bool stdinOnce=13:bool tty=14:bool linux=15:LinuxContainerConfig stopSignal=18:Signal',
    CreateContainerRequest: 'podSandboxId=1 config=2:ContainerConfig sandboxConfig=3:SandboxConfig',
    ContainerId: 'containerId=1',
    StopContainerRequest: 'containerId=1 timeout=2:int64',
    ContainerFilter: 'id=1 podSandboxId=3 labels=4:map',
    ListContainersRequest: 'filter=1:ContainerFilter',
    Container:
      'id=1 podSandboxId=2 metadata=3:ContainerMetadata! image=4:ImageSpec! imageRef=5 state=6:ContainerState createdAt=7:int64 labels=8:map annotations=9:map imageId=10',
    ListContainersResponse: 'containers=1:Container[]',
    LinuxUser: 'uid=1:int64 gid=2:int64 supplementalGroups=3:int64[]',
    ContainerUser: 'linux=1:LinuxUser',
    ContainerResources: 'linux=1:LinuxResources',
    ContainerStatus:
      'id=1 metadata=2:ContainerMetadata! state=3:ContainerState createdAt=4:int64 startedAt=5:int64 finishedAt=6:int64 exitCode=7:int32 image=8:ImageSpec! imageRef=9 reason=10 message=11 labels=12:map annotations=13:map mounts=14:Mount[] logPath=15 resources=16:ContainerResources imageId=17 user=18:ContainerUser',
    ContainerStatusResponse: 'status=1:ContainerStatus',
    UpdateResourcesRequest: 'containerId=1 linux=2:LinuxResources',
    ExecSyncRequest: 'containerId=1 cmd=2:string[] timeout=3:int64',
    ExecSyncResponse: 'stdout=1:bytes stderr=2:bytes exitCode=3:int32',
    ExecRequest: 'containerId=1 cmd=2:string[] tty=3:bool stdin=4:bool stdout=5:bool stderr=6:bool',
    AttachRequest: 'containerId=1 stdin=2:bool tty=3:bool stdout=4:bool stderr=5:bool',
    PortForwardRequest: 'podSandboxId=1 port=2:int32[]',
    Url: 'url=1',
    StatsFilter: 'id=1 podSandboxId=2 labels=3:map',
    ListStatsRequest: 'filter=1:StatsFilter',
    CpuUsage: 'timestamp=1:int64 usageCoreNanoSeconds=2:value usageNanoCores=3:value',
    MemoryUsage:
      'timestamp=1:int64 workingSetBytes=2:value availableBytes=3:value usageBytes=4:value rssBytes=5:value pageFaults=6:value majorPageFaults=7:value',
    Attributes: 'id=1 metadata=2:ContainerMetadata! labels=3:map',
    ContainerStats: 'attributes=1:Attributes! cpu=2:CpuUsage memory=3:MemoryUsage writableLayer=4:FilesystemUsage',
    ListStatsResponse: 'stats=1:ContainerStats[]',
    NetworkConfig: 'podCidr=1',
    RuntimeConfig: 'networkConfig=1:NetworkConfig',
    UpdateRuntimeConfigRequest: 'runtimeConfig=1:RuntimeConfig',

    EventStatus: 'id=1 exitCode=7:int32',
    EventSandbox: 'id=1',
    ContainerEvent: 'containerId=1 kind=2:EventType sandbox=4:EventSandbox containers=5:EventStatus[]',

    ImageFilter: 'image=1:ImageSpec',
    ListImagesRequest: 'filter=1:ImageFilter',
    Image: 'id=1 repoTags=2:string[] repoDigests=3:string[] size=4:uint64 uid=5:Int64Value username=6 pinned=8:bool',
    ListImagesResponse: 'images=1:Image[]',
    ImageRequest: 'image=1:ImageSpec',
    ImageStatusResponse: 'image=1:Image',
    AuthConfig: 'username=1 password=2 auth=3 serverAddress=4 identityToken=5 registryToken=6',
    PullImageRequest: 'image=1:ImageSpec auth=2:AuthConfig sandboxConfig=3:SandboxConfig',
    PullImageResponse: 'imageRef=1',
    FilesystemId: 'mountpoint=1',
    FilesystemUsage: 'timestamp=1:int64 fsId=2:FilesystemId usedBytes=3:value inodesUsed=4:value',
    ImageFsInfoResponse: 'imageFilesystems=1:FilesystemUsage[] containerFilesystems=2:FilesystemUsage[]',
  },
});
