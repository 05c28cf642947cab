{{/* Who may do what at the node: flags, and the files that they name. */}}

{{/* The key of the policy in its ConfigMap or Secret. */}}
{{- define "route.policyKey" -}}
{{- ternary .Values.security.existingPolicy.key "policy.toml" (ne .Values.security.existingPolicy.name "") -}}
{{- end }}

{{- define "route.securityFlags" -}}
{{- if .Values.security.insecure }}
- --insecure
{{- else }}
- --policy=/etc/teamtalk-route/policy/{{ include "route.policyKey" . }}
{{- end }}
{{- end }}

{{/* Whole folders: what is mounted by the name of a file is not replaced when it changes. */}}
{{- define "route.securityMounts" -}}
{{- if not .Values.security.insecure }}
- name: policy
  mountPath: /etc/teamtalk-route/policy
  readOnly: true
{{- end }}
{{- end }}

{{- define "route.securityVolumes" -}}
{{- if not .Values.security.insecure }}
- name: policy
  {{- with .Values.security.existingPolicy }}
  {{- if and .name (eq .kind "Secret") }}
  secret:
    secretName: {{ .name }}
  {{- else }}
  configMap:
    name: {{ .name | default (printf "%s-policy" (include "route.fullname" $)) }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end }}
