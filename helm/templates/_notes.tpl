{{- define "route.notes" -}}
{{- $name := include "route.fullname" . }}
{{- $service := .Values.gateway.service }}
TeamTalk Route {{ .Chart.AppVersion }}: {{ if eq .Values.mode "embedded" }}one pod, gateway and node in one process{{ else }}{{ if eq .Values.mode "separate" }}{{ if gt (int .Values.node.replicas) 1 }}{{ .Values.node.replicas }} nodes of which one leads, {{ else }}one node, {{ end }}{{ end }}{{ if .Values.gateway.autoscaling.enabled }}{{ .Values.gateway.autoscaling.minReplicas }} to {{ .Values.gateway.autoscaling.maxReplicas }} gateways{{ else }}{{ .Values.gateway.replicas }} gateway{{ if ne (int .Values.gateway.replicas) 1 }}s{{ end }}{{ end }}{{ end }}.
{{- if and (eq (int .Values.gateway.replicas) 0) (not .Values.gateway.autoscaling.enabled) }}

gateway.replicas is 0, so the port for MsgServers is closed: connections to it are refused. Open it when all MsgServers
have the address (docs/migration.md); the steps below are for then.
{{- end }}

1. Wait until it runs:

     kubectl -n {{ .Release.Namespace }} rollout status deployment/{{ $name }}-{{ include "route.pduComponent" . }}

2. See that it works, as a MsgServer and as a new service would:

     helm test -n {{ .Release.Namespace }} {{ .Release.Name }}

3. Point a MsgServer here: in its msgserver.conf, RouteServerIP1 and RouteServerPort1.

{{- if eq $service.type "ClusterIP" }}
   In this cluster: {{ if $service.clusterIP }}{{ $service.clusterIP }}{{ else }}the address that this prints{{ end }}, port {{ $service.port }}. For MsgServers elsewhere set gateway.service.type.
{{- if not $service.clusterIP }}

     kubectl -n {{ .Release.Namespace }} get service {{ $name }}-pdu-gateway -o jsonpath='{.spec.clusterIP}'
{{- end }}
{{- else if eq $service.type "NodePort" }}
   The address of a machine that runs a gateway, and the port that this prints:

     kubectl -n {{ .Release.Namespace }} get service {{ $name }}-pdu-gateway -o jsonpath='{.spec.ports[0].nodePort}'
{{- else }}
   The address that this prints, port {{ $service.port }}:

     kubectl -n {{ .Release.Namespace }} get service {{ $name }}-pdu-gateway -o jsonpath='{.status.loadBalancer.ingress[0]}'
{{- end }}

   Gateways admit {{ include "route.allowedRanges" . | fromJsonArray | join ", " }}. Whoever is admitted
   is believed to be a MsgServer: narrow this by gateway.flags.allow-cidr.

   Migrate from the C++ RouteServer one MsgServer at a time: docs/migration.md.

{{- if ne .Values.mode "gateways" }}

4. Call the API from a pod: gRPC {{ ternary "by" "without" .Values.security.tls.enabled }} TLS at {{ $name }}-route-grpc.{{ .Release.Namespace }}.svc:{{ .Values.node.service.port }}.
{{- if .Values.networkPolicy.enabled }}
   The pod must be in this namespace with the label route.teamtalk/grpc-client: "true", or be listed in
   networkPolicy.grpcFrom.
{{- end }}
{{- if .Values.security.insecure }}

WARNING: security.insecure is true. Whoever reaches gRPC sees who is online and what is sent, may publish in any user's
name, and may attach gateways.
{{- if .Values.networkPolicy.enabled }} What guards it is the NetworkPolicy of this release, and that only if the cluster's
network enforces such policies.
{{- else }} networkPolicy.enabled is false, so that is every pod of the cluster.
{{- end }} Give a policy instead: docs/policy.md.
{{- else }}
   Who may do what there is in its policy: docs/policy.md.
{{- end }}
{{- end }}
{{- if hasPrefix "localhost/" (include "route.repository" .) }}

The image {{ include "route.image" . }} is in no registry: load it into every machine of the cluster, or push it to yours
and set image.repository (docs/install.md).
{{- end }}
{{- end }}
