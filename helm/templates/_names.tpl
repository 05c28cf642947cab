{{/* Names and labels. Component is "route-grpc", "pdu-gateway" or "embedded"; it is the Prometheus job too. */}}

{{- define "route.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* Short enough for the longest suffix, "-route-grpc-headless". */}}
{{- define "route.fullname" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 42 | trimSuffix "-" -}}
{{- end }}

{{- define "route.serviceAccount" -}}
{{- if .Values.pods.serviceAccount.create -}}
{{- default (include "route.fullname" .) .Values.pods.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.pods.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{/* global.imageRegistry takes the place of what the container engines take for a registry: a first part with a dot or a
port, or localhost. */}}
{{- define "route.repository" -}}
{{- $repository := .Values.image.repository -}}
{{- with .Values.global.imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $repository "") -}}
{{- end -}}
{{- $repository -}}
{{- end }}

{{- define "route.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ include "route.repository" $ }}@{{ .digest }}
{{- else -}}
{{ include "route.repository" $ }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What the Services, budgets and policies select, and never changes: (list . "route-grpc"). */}}
{{- define "route.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "route.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* For metadata.labels: (list . "route-grpc"); without a component: (list . ""). */}}
{{- define "route.labels" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "route.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- with $component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: teamtalk
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* For pods: without the chart's version, so that a new chart with the same pods replaces none. */}}
{{- define "route.podLabels" -}}
{{- $root := index . 0 -}}
{{- include "route.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: teamtalk
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Which pods MsgServers connect to. Those of one mode are none of another's, so that no controller takes one for the
other, and no Service has both: each would know a part of the users. */}}
{{- define "route.pduComponent" -}}
{{- ternary "embedded" "pdu-gateway" (eq .Values.mode "embedded") -}}
{{- end }}

{{/* Which pods answer gRPC. */}}
{{- define "route.grpcComponent" -}}
{{- ternary "embedded" "route-grpc" (eq .Values.mode "embedded") -}}
{{- end }}

{{/* Where gateways attach, as a JSON array. */}}
{{- define "route.upstreams" -}}
{{- if eq .Values.mode "gateways" -}}
{{- toJson .Values.gateway.upstreams -}}
{{- else -}}
{{- list (printf "%s://%s-route-grpc-headless:50052" (include "route.scheme" .) (include "route.fullname" .)) | toJson -}}
{{- end -}}
{{- end }}

{{/* Where everybody else calls gRPC. */}}
{{- define "route.grpcUrl" -}}
{{- if eq .Values.mode "gateways" -}}
{{- .Values.gateway.nodeApi | default (first .Values.gateway.upstreams) -}}
{{- else -}}
{{ include "route.scheme" . }}://{{ include "route.fullname" . }}-route-grpc:{{ .Values.node.service.port }}
{{- end -}}
{{- end }}
