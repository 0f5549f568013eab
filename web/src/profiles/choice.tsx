// Chooses a profile for the conversation that is shown.

import { current } from "../session";
import { ownSettings, setOwn } from "../state";
import { text } from "../text";
import { profile, profiles } from "./state";

/** The profile's name beside the model; nothing where there is none. */
export function ProfileName() {
  const name = profile(ownSettings.value.profile)?.name;
  return name ? <span class="profile"><bdi>{name}</bdi></span> : null;
}

/** Buttons for a new conversation: one is chosen, or none. */
export function ProfileChoice() {
  const chosen = profile(ownSettings.value.profile)?.id;
  if (!profiles.value?.length || current.value.turns.length) return null;
  return (
    <ul class="choose-profile" aria-label={text.profiles.title}>
      {profiles.value.map(({ id, name, description }) => (
        <li key={id}>
          <button
            type="button"
            aria-pressed={id === chosen}
            title={description || undefined}
            onClick={() => setOwn({ profile: id === chosen ? "" : id })}
          >
            <bdi>{name}</bdi>
          </button>
        </li>
      ))}
    </ul>
  );
}
