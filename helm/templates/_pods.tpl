{{/* What both pods have in common. */}}

{{/* The flags of a map, in the order of their names: (dict "detach-grace" "20s"). A list repeats its flag; false is none. */}}
{{- define "route.flags" -}}
{{- range $flag, $value := . }}
{{- if kindIs "bool" $value }}
{{- if $value }}
- --{{ $flag }}
{{- end }}
{{- continue }}
{{- end }}
{{- range ternary $value (list $value) (kindIs "slice" $value) }}
- {{ printf "--%s=%v" $flag (ternary (. | int64) . (kindIs "float64" .)) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Flags of the node that the embedded one has too, as JSON: not those of the process around it. */}}
{{- define "route.nodeFlags" -}}
{{- omit .Values.node.flags "log-filter" "log-format" "shutdown-deadline" "worker-threads" | toJson -}}
{{- end }}

{{/* Pods of a component over machines and zones: (dict "root" . "component" "pdu-gateway" "keys" list). */}}
{{- define "route.spread" -}}
{{- with .keys }}
topologySpreadConstraints:
  {{- range . }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "route.selector" (list $.root $.component) | nindent 8 }}
    # The old pods of a roll do not count.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end }}

{{/* The environment: (dict "root" . "extra" list "isNode" true). */}}
{{- define "route.env" -}}
{{- $hasEngine := and .isNode (include "route.hasEngine" .root) }}
{{- if or $hasEngine (contains "$(POD_IP)" .root.Values.pods.bindAddress) }}
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- end }}
{{- if or $hasEngine .root.Values.monitoring.traces.endpoint }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}
{{- with .root.Values.monitoring.traces }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .ratio | quote }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ printf "service.namespace=%s,k8s.namespace.name=%s,k8s.pod.name=$(POD_NAME)" (include "route.fullname" $.root) $.root.Release.Namespace | quote }}
{{- end }}
{{- end }}
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The pod's part that has nothing to do with containers: (dict "root" . "of" .Values.node). */}}
{{- define "route.podCommon" -}}
serviceAccountName: {{ include "route.serviceAccount" .root }}
automountServiceAccountToken: false
# A Service's variables, such as X_PORT=tcp://…, are nobody's settings.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .root.Values.pods.terminationGracePeriodSeconds }}
securityContext:
  {{- toYaml .root.Values.pods.securityContext | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .of.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* Before SIGTERM: new connections go elsewhere first. The image has no shell, so the kubelet itself sleeps. */}}
{{- define "route.lifecycle" -}}
preStop:
  sleep:
    seconds: {{ .Values.pods.preStopSeconds }}
{{- end }}

{{/* The dialect's file, where a definition is given. */}}
{{- define "route.dialectMounts" -}}
{{- if .Values.gateway.dialect.definition }}
{{- include "route.mount" "dialect" }}
{{- end }}
{{- end }}

{{- define "route.dialectVolumes" -}}
{{- if .Values.gateway.dialect.definition }}
- name: dialect
  configMap:
    name: {{ include "route.fullname" . }}-pdu-gateway-dialect
{{- end }}
{{- end }}

{{/* What the gateways' pods mount, or the embedded server's. */}}
{{- define "route.gatewayMounts" -}}
{{- include "route.dialectMounts" . }}
{{- include (ternary "route.securityMounts" "route.clientMounts" (eq .Values.mode "embedded")) . }}
{{- with .Values.gateway.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "route.gatewayVolumes" -}}
{{- include "route.dialectVolumes" . }}
{{- include (ternary "route.securityVolumes" "route.clientVolumes" (eq .Values.mode "embedded")) . }}
{{- with .Values.gateway.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Of the node's pod. */}}
{{- define "route.nodeMounts" -}}
{{- include "route.securityMounts" . }}
{{- include "route.engineMounts" . }}
{{- with .Values.node.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "route.nodeVolumes" -}}
{{- include "route.securityVolumes" . }}
{{- include "route.engineVolumes" . }}
{{- with .Values.node.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
